// part: rotate
// needs kv: Octet
// needs around: rotary
// gives struct: Turn
// gives fn: turn_of, turn_at, rotated

// Rotary embedding of four pairs of a head: dimensions i to i + 3, and the same behind half of the head.

struct Turn {
    cos: vec4<f32>,
    sin: vec4<f32>,
}

// What pair i turns by: angle i of those from `turns` on, for i < n_turned.
fn turn_of(i: u32, turns: u32, n_turned: u32) -> vec2<f32> {
    if i < n_turned {
        return rotary[turns + i];
    }
    return vec2(1.0, 0.0);
}

fn turn_at(i: u32, turns: u32, n_turned: u32) -> Turn {
    let x = turn_of(i, turns, n_turned);
    let y = turn_of(i + 1u, turns, n_turned);
    let z = turn_of(i + 2u, turns, n_turned);
    let w = turn_of(i + 3u, turns, n_turned);
    return Turn(vec4(x.x, y.x, z.x, w.x), vec4(x.y, y.y, z.y, w.y));
}

fn rotated(a: vec4<f32>, b: vec4<f32>, turn: Turn) -> Octet {
    return Octet(a * turn.cos - b * turn.sin, b * turn.cos + a * turn.sin);
}
