// part: matrices when matrix8
// needs enable_matrix: f16, wgpu_cooperative_matrix
// needs around: CELLS_W, CELLS_X
// gives const: SIDE, CELL
// gives alias: MatrixX, MatrixW, Sums
// gives var: tile_x, tile_w
// gives fn: put_x, put_w

// Cooperative matrices of 8 x 8, as Metal has them; it loads them from single values.

const SIDE: u32 = 8u;
const CELL: u32 = 1u;

alias MatrixX = coop_mat8x8<f16, A>;
alias MatrixW = coop_mat8x8<f16, B>;
alias Sums = coop_mat8x8<f32, C>;

var<workgroup> tile_x: array<f16, CELLS_X>;
var<workgroup> tile_w: array<f16, CELLS_W>;

fn put_x(quad: u32, value: vec4<f16>) {
    tile_x[4u * quad] = value.x;
    tile_x[4u * quad + 1u] = value.y;
    tile_x[4u * quad + 2u] = value.z;
    tile_x[4u * quad + 3u] = value.w;
}

fn put_w(quad: u32, value: vec4<f16>) {
    tile_w[4u * quad] = value.x;
    tile_w[4u * quad + 1u] = value.y;
    tile_w[4u * quad + 2u] = value.z;
    tile_w[4u * quad + 3u] = value.w;
}
