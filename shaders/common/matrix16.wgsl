// part: matrices when matrix16
// needs enable_matrix: f16, wgpu_cooperative_matrix
// needs around: CELLS_W, CELLS_X
// gives const: SIDE, CELL
// gives alias: MatrixX, MatrixW, Sums
// gives var: tile_x, tile_w
// gives fn: put_x, put_w

// Cooperative matrices of 16 x 16, as GPUs with Vulkan have them. Workgroup memory holds four values a cell.

const SIDE: u32 = 16u;
const CELL: u32 = 4u;

alias MatrixX = coop_mat16x16<f16, A>;
alias MatrixW = coop_mat16x16<f16, B>;
alias Sums = coop_mat16x16<f32, C>;

var<workgroup> tile_x: array<vec4<f16>, CELLS_X>;
var<workgroup> tile_w: array<vec4<f16>, CELLS_W>;

fn put_x(quad: u32, value: vec4<f16>) {
    tile_x[quad] = value;
}

fn put_w(quad: u32, value: vec4<f16>) {
    tile_w[quad] = value;
}
