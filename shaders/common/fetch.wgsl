// Workgroups beside those that have a norm's rows read the weights of the products behind it, so that these find them in the
// device's cache: a norm keeps one or two of its cores busy, and its memory waits.

override BESIDE: u32 = 64;  // workgroups
override WORDS4: u32 = 256; // vec4 to read

@group(0) @binding(10) var<storage, read> next_weights: array<vec4<u32>>;

fn beside(group: vec3<u32>, lane: u32) {
    var any = 0u;
    // Half a sector of 32 bytes brings the whole.
    for (var i = (group.x * THREADS + lane) * 2u; i < WORDS4; i += BESIDE * THREADS * 2u) {
        any = max(any, next_weights[i].x);
    }
    // Never true, as eps is positive, but no compiler can know.
    if (any | 0x80000000u) == bitcast<u32>(params.eps) {
        h[0] = vec4(0.0);
    }
}
