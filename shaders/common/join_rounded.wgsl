// What attention_join.wgsl makes is also rounded (rounded.wgsl) for o_proj: a workgroup has a chunk of 32 values.

@group(0) @binding(4) var<storage, read_write> rounded: array<vec4<u32>>; // [rows, chunks * 3]

var<workgroup> joined: array<vec4<f32>, COLUMNS>;

// The lane's four values of a chunk of row t.
fn round_quads(t: u32, chunk: u32, lane: u32, quad: vec4<f32>) {
    if lane < COLUMNS {
        joined[lane] = quad;
    }
    workgroupBarrier();
    if lane < 2u {
        let at = (t * (params.n_heads * HEAD_DIM / 32u) + chunk) * 3u;
        let i = 4u * lane;
        let r = rounded16(joined[i], joined[i + 1u], joined[i + 2u], joined[i + 3u]);
        rounded[at + lane] = r.codes;
        rounded[at + 2u][lane] = bitcast<u32>(r.scale);
        rounded[at + 2u][2u + lane] = bitcast<u32>(r.sum);
    }
}
