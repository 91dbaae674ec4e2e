// part: joined when rounded
// needs rounded: rounded16
// needs around: COLUMNS, HEAD_DIM, params
// gives var: rounded, joined
// gives fn: round_quads

// What attention_join.wgsl makes is also rounded (rounded.wgsl) for o_proj: a workgroup has a chunk of 32 values.

@group(0) @binding(4) var<storage, read_write> rounded: array<vec4<u32>>; // [rows, 3, chunks]

var<workgroup> joined: array<vec4<f32>, COLUMNS>;

// The lane's four values of a chunk of row t.
fn round_quads(t: u32, chunk: u32, lane: u32, quad: vec4<f32>) {
    if lane < COLUMNS {
        joined[lane] = quad;
    }
    workgroupBarrier();
    if lane < 2u {
        let chunks = params.n_heads * HEAD_DIM / 32u;
        let at = 3u * t * chunks + chunk;
        let i = 4u * lane;
        let r = rounded16(joined[i], joined[i + 1u], joined[i + 2u], joined[i + 3u]);
        rounded[at + lane * chunks] = r.codes;
        rounded[at + 2u * chunks][lane] = bitcast<u32>(r.scale);
        rounded[at + 2u * chunks][2u + lane] = bitcast<u32>(r.sum);
    }
}
