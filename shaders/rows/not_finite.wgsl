// gives const: LANES
// gives struct: Params
// gives var: params, words, flags
// gives fn: main

// flags[number] = 1 where one of n_words words is NaN or infinite as f32. One lane a word.

const LANES: u32 = 256;

struct Params {
    n_words: u32,
    number: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> words: array<u32>;                // [n_words]
@group(0) @binding(2) var<storage, read_write> flags: array<atomic<u32>>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.z * groups.x + group.x) * LANES + lane;
    if i < params.n_words && (words[i] & 0x7f800000u) == 0x7f800000u {
        atomicStore(&flags[params.number], 1u);
    }
}
