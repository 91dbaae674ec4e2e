// part: lane_tile
// needs product: params
// needs tile: CHUNKS, Tile, write
// needs tiles: multiply
// needs around: tile_at, y_row
// gives override: LANES_T, LANES_N, ROWS, FEATURES, AHEAD, SHARES, SHARE_ROWS
// gives struct: Sums
// gives var: share
// gives fn: main, place, share_begin, quad_of, write_block, write_row

// What tiles in registers share: a workgroup of LANES_T x LANES_N lanes makes a tile of TILE_T = LANES_T * ROWS rows and
// LANES_N * FEATURES output features; each lane makes ROWS x FEATURES of them, LANES_T and LANES_N apart, in blocks of
// four rows and four features.
//
// A lane's registers hold ROWS * FEATURES sums, the operands of a block, and, where AHEAD, what it has read for the next
// step: 8 x 8 sums need 128 registers and more, 4 x 4 fit 64.

override LANES_T: u32 = 16;
override LANES_N: u32 = 8;     // a multiple of 8
override ROWS: u32 = 4;        // 4 or 8
override FEATURES: u32 = 8;    // 4 or 8
// Whether a step's operands are read while the step before is multiplied. A lane then has room for four reads of either
// operand a step.
override AHEAD: bool = true;
// Where features are few, shares of the input features are added up apart, along z, and each has y to itself.
override SHARES: u32 = 1;
override SHARE_ROWS: u32 = 0;  // rows of y of a share

var<private> share: u32;

// A block's sums: of four output features, a component for each row.
struct Sums {
    feature: array<vec4<f32>, 4>,
}

@compute @workgroup_size(LANES_T * LANES_N)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tile = tile_at(group.y);
    share = group.z;
    if tile.count > 0u {
        // An argument: browsers take what comes from a private variable to differ among lanes, and refuse barriers behind it.
        multiply(tile, group.x * LANES_N * FEATURES, group.z, lane);
    }
}

// Number i of the places that a lane serves, of `count`: lanes without one of their own repeat the last.
fn place(lane: u32, i: u32, count: u32) -> u32 {
    return min(i * LANES_T * LANES_N + lane, count - 1u);
}

// The share's first input feature, and where the next share begins: chunks stay whole.
fn share_begin(number: u32) -> u32 {
    return min(number * ((CHUNKS + SHARES - 1u) / SHARES), CHUNKS) * 32u;
}

// The place in workgroup memory of a feature's quad, of `quads`: shifted so that lanes that read neighbours use different
// banks. Features LANES_N apart are shifted alike.
fn quad_of(quads: u32, n: u32, quad: u32) -> u32 {
    return n * quads + (quad ^ (n * quads / 8u % quads));
}

// A block's rows from t on, and features from n on.
fn write_block(tile: Tile, n: u32, t: u32, sums: Sums) {
    let f = sums.feature;
    write_row(tile, n, t, vec4(f[0].x, f[1].x, f[2].x, f[3].x));
    write_row(tile, n, t + LANES_T, vec4(f[0].y, f[1].y, f[2].y, f[3].y));
    write_row(tile, n, t + 2u * LANES_T, vec4(f[0].z, f[1].z, f[2].z, f[3].z));
    write_row(tile, n, t + 3u * LANES_T, vec4(f[0].w, f[1].w, f[2].w, f[3].w));
}

fn write_row(tile: Tile, n: u32, t: u32, sums: vec4<f32>) {
    if t >= tile.count {
        return;
    }
    let at = (share * SHARE_ROWS + y_row(tile, t)) * params.y_stride + params.y_offset;
    write(at, n, sums.x);
    write(at, n + LANES_N, sums.y);
    write(at, n + 2u * LANES_N, sums.z);
    write(at, n + 3u * LANES_N, sums.w);
}
