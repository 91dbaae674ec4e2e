// needs strips: NO_TOKEN, STRIP_QUADS, keys_of, params
// gives var: maxima
// gives fn: main

// maxima[t, s] = the largest key of strip s of logits[t]: the K largest logits lie in the K strips with the largest maxima,
// since each of these has one that is as large, and of equals the lower strips have the lower ids.

@group(0) @binding(2) var<storage, read_write> maxima: array<u32>; // [rows, strips]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let strip = group.x * 64u + lane;
    if strip >= params.strips {
        return;
    }
    var largest = vec4(NO_TOKEN);
    for (var i = 0u; i < STRIP_QUADS; i++) {
        largest = max(largest, keys_of(group.y, strip * STRIP_QUADS + i));
    }
    maxima[group.y * params.strips + strip] = max(max(largest.x, largest.y), max(largest.z, largest.w));
}
