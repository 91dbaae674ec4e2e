// part: weigh
// needs enable_matrix: f16
// needs matrices: SIDE, put_x
// needs lines: put_score, score, score_quad
// needs kv_blocks: Block
// needs around: KEYS, LINES, MATRIX_LANES, SCORES
// gives const: GROWTH, LOWEST
// gives struct: Line, Quads
// gives var: seen, factors, has_grown
// gives fn: planes, parts, part_at, seen_quad, largest_of, score_quads, put_weights, weigh

// Weights of a block from its scores: exp(score - reference), in f16. A line's reference is the largest score when it last
// grew by more than GROWTH, so that weights may be as large as e^GROWTH and sums seldom need to be rescaled
// (FlashAttention-4's way). `parts` lanes serve a line, each every `parts`-th quad of its keys.

const GROWTH: f32 = 8.0;
const LOWEST: f32 = -3.4e38;

var<workgroup> seen: array<vec2<u32>, 64>;  // by line: the positions from x to y
var<workgroup> factors: array<f32, 64>;     // by line: what its sums must be multiplied with
var<workgroup> has_grown: vec4<u32>;        // x: some factor is not 1. Four words, which keep the arrays aligned.

// A line as one of its lanes knows it.
struct Line {
    reference: f32,
    total: f32, // of the lane's own weights
}

// The lane's scores of a block: two quads at most.
struct Quads {
    q0: vec4<f32>,
    q1: vec4<f32>,
}

// Heads of two chunks have half the lines, whose scores stand in two planes: sums over half of each chunk's dimensions.
fn planes() -> u32 {
    return 4u * SIDE / LINES;
}
// A line has room for four results of lanes behind its scores, in each plane.
fn parts() -> u32 {
    return min(min(MATRIX_LANES / LINES, 4u * planes()), KEYS / 4u);
}
fn part_at(line: u32, part: u32) -> u32 {
    return (line + part / 4u * LINES) * SCORES + KEYS + part % 4u;
}

// Scores of quad n of a line's keys.
fn seen_quad(block: Block, line: u32, n: u32) -> vec4<f32> {
    var s = score_quad((line * SCORES) / 4u + n);
    if planes() == 2u {
        s += score_quad((line + LINES) * SCORES / 4u + n);
    }
    let p = block.base + 4u * n + vec4(0u, 1u, 2u, 3u);
    let is_seen = (p >= vec4(seen[line].x)) & (p < vec4(min(seen[line].y, block.end)));
    return select(vec4(LOWEST), s, is_seen);
}

fn largest_of(s: vec4<f32>) -> f32 {
    return max(max(s.x, s.y), max(s.z, s.w));
}

fn score_quads(block: Block, lane: u32) -> Quads {
    let line = lane / parts();
    var held: Quads;
    if line < LINES {
        held.q0 = seen_quad(block, line, lane % parts());
        var largest = max(LOWEST, largest_of(held.q0));
        if KEYS / 4u > parts() {
            held.q1 = seen_quad(block, line, lane % parts() + parts());
            largest = max(largest, largest_of(held.q1));
        }
        put_score(part_at(line, lane % parts()), largest);
    }
    return held;
}

// Quad n of a line's weights, from its scores: enters tile_x. Returns their sum, as they are in f16.
fn put_weights(s: vec4<f32>, reference: f32, line: u32, n: u32) -> f32 {
    let w = vec4<f16>(select(exp(s - reference), vec4(0.0), s == vec4(LOWEST)));
    put_x(line * (KEYS / 4u + 2u) + n, w);
    return dot(vec4<f32>(w), vec4(1.0));
}

fn weigh(held: Quads, state: Line, lane: u32) -> Line {
    let line = lane / parts();
    if line >= LINES {
        return state;
    }
    var largest = LOWEST;
    for (var part = 0u; part < parts(); part++) {
        largest = max(largest, score(part_at(line, part)));
    }
    // A line that has seen nothing yet has no sums to rescale.
    let has_seen = state.reference > LOWEST;
    let grows = largest > state.reference + GROWTH || !has_seen;
    let reference = select(state.reference, largest, grows);
    let factor = select(1.0, exp(state.reference - reference), has_seen && grows);
    if lane % parts() == 0u {
        factors[line] = factor;
        if factor != 1.0 {
            has_grown.x = 1u;
        }
    }
    var total = state.total * factor;
    total += put_weights(held.q0, reference, line, lane % parts());
    if KEYS / 4u > parts() {
        total += put_weights(held.q1, reference, line, lane % parts() + parts());
    }
    return Line(reference, total);
}
