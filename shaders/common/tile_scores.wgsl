// part: tile_scores
// needs kv: Packed, head_octets, octet
// needs around: AHEAD, KEYS, LANE_KEYS, LINES, LOWEST, Tile, key, maxima, places, query, rescales, seen, stage
// gives const: STEP
// gives struct: Scores
// gives fn: score_block, sees, weigh

// Scores of a tile of lines with a block of keys, and what becomes of them: weights, in workgroup memory.

const STEP: u32 = 8; // vec4 of a head that stand in workgroup memory at a time

// Scores of four lines with the lane's keys: KEYS / LANE_KEYS lanes for each four lines.
struct Scores {
    a: vec4<f32>,
    b: vec4<f32>,
}

fn score_block(tile: Tile, cached: bool, lane: u32) -> Scores {
    let keys_at = STEP * (LINES + 1u);
    // What a lane brings to workgroup memory: a vec4 of a line, two where there are 64, and an octet of a key.
    let line = lane / STEP;
    let i = lane % STEP;
    let n = lane / 4u;
    let o = lane % 4u;
    let lanes = KEYS / LANE_KEYS;
    let row = lane / lanes * 4u;
    let column = keys_at + lane % lanes;
    var s = Scores(vec4(0.0), vec4(0.0));
    var k: Packed;
    if n < KEYS {
        k = key(cached, places[n], o);
    }
    var q0 = query(tile, line, i);
    var q1: vec4<f32>;
    if LINES > 32u {
        q1 = query(tile, line + 32u, i);
    }
    for (var step = 0u; step < 2u * head_octets(); step += STEP) {
        workgroupBarrier();
        if line < LINES {
            stage[i * (LINES + 1u) + line] = q0;
        }
        if LINES > 32u {
            stage[i * (LINES + 1u) + line + 32u] = q1;
        }
        if n < KEYS {
            let of_key = octet(k, step / 2u + o);
            stage[keys_at + 2u * o * (KEYS + 1u) + n] = of_key.lo;
            stage[keys_at + (2u * o + 1u) * (KEYS + 1u) + n] = of_key.hi;
        }
        workgroupBarrier();
        // The next ones come while these are multiplied.
        if step + STEP < 2u * head_octets() {
            if n < KEYS {
                k = key(cached, places[n], (step + STEP) / 2u + o);
            }
            q0 = query(tile, line, step + STEP + i);
            if LINES > 32u {
                q1 = query(tile, line + 32u, step + STEP + i);
            }
        }
        for (var j = 0u; j < STEP; j++) {
            let x_at = j * (LINES + 1u) + row;
            let x0 = stage[x_at];
            let x1 = stage[x_at + 1u];
            let x2 = stage[x_at + 2u];
            let x3 = stage[x_at + 3u];
            let ka = stage[column + j * (KEYS + 1u)];
            s.a += vec4(dot(x0, ka), dot(x1, ka), dot(x2, ka), dot(x3, ka));
            if LANE_KEYS > 1u {
                let kb = stage[column + j * (KEYS + 1u) + lanes];
                s.b += vec4(dot(x0, kb), dot(x1, kb), dot(x2, kb), dot(x3, kb));
            }
        }
    }
    workgroupBarrier();
    return s;
}

// Which of four lines from `line` on see position p of the block.
fn sees(line: u32, p: u32, block_end: u32) -> vec4<bool> {
    let first = vec4(seen[line].x, seen[line + 1u].x, seen[line + 2u].x, seen[line + 3u].x);
    let end = vec4(seen[line].y, seen[line + 1u].y, seen[line + 2u].y, seen[line + 3u].y);
    return (vec4(p) >= first) & (vec4(p) < min(end, vec4(block_end)));
}

// Weights of a block from its scores, in workgroup memory; maxima and what the sums so far must be multiplied with.
fn weigh(s: Scores, base: u32, block_end: u32, lane: u32) {
    let lanes = KEYS / LANE_KEYS;
    let four = lane / lanes;
    let n = lane % lanes;
    let a = select(vec4(LOWEST), s.a, sees(4u * four, base + n, block_end));
    let at = n * (LINES / 4u) + four;
    let next_at = at + lanes * (LINES / 4u); // of the lane's second key
    var b = vec4(LOWEST);
    stage[at] = a;
    if LANE_KEYS > 1u {
        b = select(b, s.b, sees(4u * four, base + n + lanes, block_end));
        stage[next_at] = b;
    }
    workgroupBarrier();
    if lane < LINES / 4u {
        var largest = maxima[lane];
        let n_keys = select(block_end - base, KEYS, AHEAD);
        for (var i = 0u; i < n_keys; i++) {
            largest = max(largest, stage[i * (LINES / 4u) + lane]);
        }
        rescales[lane] = exp(maxima[lane] - largest);
        maxima[lane] = largest;
    }
    workgroupBarrier();
    let largest = maxima[four];
    // A line that has seen nothing yet has no maximum either: its scores are all equal to it.
    stage[at] = select(exp(a - largest), vec4(0.0), a == vec4(LOWEST));
    if LANE_KEYS > 1u {
        stage[next_at] = select(exp(b - largest), vec4(0.0), b == vec4(LOWEST));
    }
    workgroupBarrier();
}
