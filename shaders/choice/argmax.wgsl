// gives override: THREADS, LANE_QUADS, LAST
// gives const: NOT_FINITE
// gives struct: Params, Best
// gives var: params, logits, parts, ids, lane_best, column_best
// gives fn: is_garbage, better, of_part, main

// ids[t] = the index of the largest of logits[t], the lowest index on a tie: greedy choice, in two stages.
// First the parts of a row, LANE_QUADS quads a lane and a workgroup each, then (LAST) the row's best of them.
// NOT_FINITE where a logit is NaN or plus infinity: never a token from garbage.

override THREADS: u32 = 256;   // at least 16
override LANE_QUADS: u32 = 1;
override LAST: bool = false;
const NOT_FINITE: u32 = 0xffffffffu;

struct Params {
    width: u32,
    stride: u32, // of logits
    parts: u32,  // of a row, at most THREADS
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<vec4<f32>>;         // [rows, stride / 4]
@group(0) @binding(2) var<storage, read_write> parts: array<vec2<u32>>;    // [rows, parts]: bits of the value, index
@group(0) @binding(3) var<storage, read_write> ids: array<u32>;            // [rows]

struct Best {
    value: f32,
    index: u32, // NOT_FINITE where garbage was seen
}

var<workgroup> lane_best: array<Best, THREADS>;
var<workgroup> column_best: array<Best, 16>;

fn is_garbage(value: f32) -> bool {
    let bits = bitcast<u32>(value);
    return (bits & 0x7f800000u) == 0x7f800000u && bits != 0xff800000u;
}

fn better(a: Best, b: Best) -> Best {
    let closer = b.index < a.index;
    let other = b.value > a.value || (b.value == a.value && closer);
    if b.index == NOT_FINITE || (a.index != NOT_FINITE && other) {
        return b;
    }
    return a;
}

// The best of a lane's quads, which stand THREADS apart.
fn of_part(group: vec3<u32>, lane: u32) -> Best {
    let row = group.y * (params.stride / 4u);
    let first = group.x * THREADS * LANE_QUADS + lane;
    // Starts at a value of the row, not at a constant: masked logits may lie below every constant. A lane beyond the row
    // takes its last value once more, which changes nothing.
    var index = min(4u * first, params.width - 1u);
    var value = logits[row + index / 4u][index % 4u];
    var garbage = is_garbage(value);
    for (var j = 0u; j < LANE_QUADS; j++) {
        let quad = first + j * THREADS;
        let candidates = logits[row + min(quad, (params.width - 1u) / 4u)];
        for (var c = 0u; c < 4u; c++) {
            let candidate = candidates[c];
            let is_there = 4u * quad + c < params.width;
            garbage = garbage || (is_there && is_garbage(candidate));
            if is_there && candidate > value {
                value = candidate;
                index = 4u * quad + c;
            }
        }
    }
    return Best(value, select(index, NOT_FINITE, garbage));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var best: Best;
    if LAST {
        let part = parts[group.y * params.parts + min(lane, params.parts - 1u)];
        best = Best(bitcast<f32>(part.x), part.y);
    } else {
        best = of_part(group, lane);
    }
    lane_best[lane] = best;
    workgroupBarrier();
    if lane < 16u {
        for (var other = lane + 16u; other < THREADS; other += 16u) {
            best = better(best, lane_best[other]);
        }
        column_best[lane] = best;
    }
    workgroupBarrier();
    if lane == 0u {
        for (var column = 1u; column < 16u; column++) {
            best = better(best, column_best[column]);
        }
        if LAST {
            ids[group.y] = best.index;
        } else {
            parts[group.y * params.parts + group.x] = vec2(bitcast<u32>(best.value), best.index);
        }
    }
}
