// part: held
// needs reduce: THREADS
// needs around: params
// gives override: HELD, WIDTH, LATE
// gives const: MAX_HELD
// gives fn: is_held, quad_of, squares_of, rms_factor

// Rows that the lanes of a workgroup hold in registers: of each lane's HELD quads of values, all loads are under way before
// the first is waited for, and storage is read once. Rows that are too wide for that, or no whole quads, are HELD = 0:
// they are walked in loops as often as they are needed.

const MAX_HELD: u32 = 6;
override HELD: u32 = 0;   // up to MAX_HELD
override WIDTH: u32 = 32; // values of a row
// Whether weights of norms are read when they are needed: read with the rest they arrive sooner, and take registers.
override LATE: bool = false;

// Whether the lane's quad j is one of the row.
fn is_held(lane: u32, j: u32) -> bool {
    return lane + j * THREADS < WIDTH / 4u;
}

// The place of the lane's quad j in the row; lanes beyond the row load its last quad and let it be.
fn quad_of(lane: u32, j: u32) -> u32 {
    return min(lane + j * THREADS, WIDTH / 4u - 1u);
}

// What the lane's quad j adds to a sum of squares.
fn squares_of(lane: u32, j: u32, value: vec4<f32>) -> f32 {
    return select(0.0, dot(value, value), is_held(lane, j));
}

fn rms_factor(squares: f32) -> f32 {
    return 1.0 / sqrt(squares / f32(WIDTH) + params.eps);
}
