// What tiles in registers share: a workgroup of LANES_T x LANES_N lanes makes a tile of TILE_T = LANES_T * ROWS rows and
// LANES_N * 8 output features; each lane makes ROWS x 8 of them, LANES_T and LANES_N apart.

override LANES_T: u32 = 16;
override LANES_N: u32 = 8;     // a multiple of 8
override ROWS: u32 = 4;        // 4 or 8
// Where features are few, shares of the input features are added up apart, along z, and each has y to itself.
override SHARES: u32 = 1;
override SHARE_ROWS: u32 = 0;  // rows of y of a share

var<private> share: u32;

// 8 output features of 4 rows: a component for each row.
struct Sums {
    feature: array<vec4<f32>, 8>,
}

@compute @workgroup_size(LANES_T * LANES_N)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tile = tile_at(group.y);
    share = group.z;
    if tile.count > 0u {
        // An argument: browsers take what comes from a private variable to differ among lanes, and refuse barriers behind it.
        multiply(tile, group.x * LANES_N * 8u, group.z, lane);
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

// The 4 rows from t on.
fn write4(tile: Tile, n: u32, t: u32, sums: Sums) {
    write8(tile, n, t, vec4(sums.feature[0].x, sums.feature[1].x, sums.feature[2].x, sums.feature[3].x), vec4(sums.feature[4].x, sums.feature[5].x, sums.feature[6].x, sums.feature[7].x));
    write8(tile, n, t + LANES_T, vec4(sums.feature[0].y, sums.feature[1].y, sums.feature[2].y, sums.feature[3].y), vec4(sums.feature[4].y, sums.feature[5].y, sums.feature[6].y, sums.feature[7].y));
    write8(tile, n, t + 2u * LANES_T, vec4(sums.feature[0].z, sums.feature[1].z, sums.feature[2].z, sums.feature[3].z), vec4(sums.feature[4].z, sums.feature[5].z, sums.feature[6].z, sums.feature[7].z));
    write8(tile, n, t + 3u * LANES_T, vec4(sums.feature[0].w, sums.feature[1].w, sums.feature[2].w, sums.feature[3].w), vec4(sums.feature[4].w, sums.feature[5].w, sums.feature[6].w, sums.feature[7].w));
}

fn write8(tile: Tile, n: u32, t: u32, a: vec4<f32>, b: vec4<f32>) {
    if t >= tile.count {
        return;
    }
    let at = (share * SHARE_ROWS + y_row(tile, t)) * params.y_stride + params.y_offset;
    write(at, n, a.x);
    write(at, n + LANES_N, a.y);
    write(at, n + 2u * LANES_N, a.z);
    write(at, n + 3u * LANES_N, a.w);
    write(at, n + 4u * LANES_N, b.x);
    write(at, n + 5u * LANES_N, b.y);
    write(at, n + 6u * LANES_N, b.z);
    write(at, n + 7u * LANES_N, b.w);
}
