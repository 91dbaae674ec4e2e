// gives override: THREADS, TOP_K, TILE_T
// gives struct: Params
// gives var: params, ids, row_count, pairs, tiles, counts
// gives fn: main

// Lists the pairs (row, slot), numbered row * TOP_K + slot, by expert, each list by number, and cuts the lists into tiles
// of up to TILE_T pairs: [expert, first in the lists, pairs, 0]. One workgroup for each expert from first_expert on.
//
// Expert e's tiles begin at place first / TILE_T + e, where `first` pairs have earlier experts: rounded up, its pairs need
// at most the places up to the next expert's, so that no expert has to know the others' tiles. A place left over, and
// those behind the last list, have no pairs. In all there are ceil(pairs / TILE_T) + experts.

override THREADS: u32 = 64;
override TOP_K: u32 = 2;
override TILE_T: u32 = 32;

struct Params {
    first_expert: u32, // pairs of other experts are in no list
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> ids: array<u32>;                // [rows, TOP_K]
@group(0) @binding(2) var<storage, read> row_count: array<u32>;          // [0]: rows
@group(0) @binding(3) var<storage, read_write> pairs: array<u32>;        // [rows * TOP_K]
@group(0) @binding(4) var<storage, read_write> tiles: array<vec4<u32>>;

var<workgroup> counts: array<vec2<u32>, THREADS>; // a lane's pairs of earlier experts, of this one

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let e = group.x;
    let n_pairs = row_count[0] * TOP_K;
    let share = (n_pairs + THREADS - 1u) / THREADS;
    let begin = min(lane * share, n_pairs);
    let end = min(begin + share, n_pairs);
    var own = vec2<u32>();
    for (var p = begin; p < end; p++) {
        let id = ids[p] - params.first_expert;
        own += vec2(u32(id < e), u32(id == e));
    }
    counts[lane] = own;
    workgroupBarrier();
    var total = vec2<u32>();
    var rank = 0u; // this expert's pairs of earlier lanes
    for (var l = 0u; l < THREADS; l++) {
        rank += select(0u, counts[l].y, l < lane);
        total += counts[l];
    }
    var at = total.x + rank;
    for (var p = begin; p < end; p++) {
        if ids[p] - params.first_expert == e {
            pairs[at] = p;
            at++;
        }
    }
    let place = total.x / TILE_T + e;
    var next = (total.x + total.y) / TILE_T + e + 1u;
    if e + 1u == groups.x {
        next = (n_pairs + TILE_T - 1u) / TILE_T + groups.x;
    }
    for (var i = lane; i < next - place; i += THREADS) {
        let start = min(i * TILE_T, total.y);
        tiles[place + i] = vec4(params.first_expert + e, total.x + start, min(TILE_T, total.y - start), 0u);
    }
}
