// Rotary embedding of four pairs of a head: a and b are dimensions i to i + 3 and the same behind half of the head. Pair i
// turns by angle i of those from `turns` on, for i < n_turned.

fn turned(a: f32, b: f32, i: u32, turns: u32, n_turned: u32) -> vec2<f32> {
    if i >= n_turned {
        return vec2(a, b);
    }
    let turn = rotary[turns + i];
    return vec2(a * turn.x - b * turn.y, b * turn.x + a * turn.y);
}

fn rotated(a: vec4<f32>, b: vec4<f32>, i: u32, turns: u32, n_turned: u32) -> Octet {
    let x = turned(a.x, b.x, i, turns, n_turned);
    let y = turned(a.y, b.y, i + 1u, turns, n_turned);
    let z = turned(a.z, b.z, i + 2u, turns, n_turned);
    let w = turned(a.w, b.w, i + 3u, turns, n_turned);
    return Octet(vec4(x.x, y.x, z.x, w.x), vec4(x.y, y.y, z.y, w.y));
}
