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

// The lane's scores of a block.
struct Quads {
    quads: array<vec4<f32>, 2>,
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

fn score_quads(block: Block, lane: u32) -> Quads {
    let line = lane / parts();
    var held: Quads;
    var largest = LOWEST;
    if line < LINES {
        for (var i = 0u; i < KEYS / 4u / parts(); i++) {
            let n = lane % parts() + i * parts();
            var s = score_quad((line * SCORES) / 4u + n);
            if planes() == 2u {
                s += score_quad((line + LINES) * SCORES / 4u + n);
            }
            let p = block.base + 4u * n + vec4(0u, 1u, 2u, 3u);
            let is_seen = (p >= vec4(seen[line].x)) & (p < vec4(min(seen[line].y, block.end)));
            s = select(vec4(LOWEST), s, is_seen);
            held.quads[i] = s;
            largest = max(largest, max(max(s.x, s.y), max(s.z, s.w)));
        }
        put_score(part_at(line, lane % parts()), largest);
    }
    return held;
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
    for (var i = 0u; i < KEYS / 4u / parts(); i++) {
        let s = held.quads[i];
        let w = vec4<f16>(select(exp(s - reference), vec4(0.0), s == vec4(LOWEST)));
        put_x(line * (KEYS / 4u + 2u) + lane % parts() + i * parts(), w);
        total += dot(vec4<f32>(w), vec4(1.0));
    }
    return Line(reference, total);
}
