// gives const: LANES
// gives struct: Params
// gives var: params, words
// gives fn: pcg, main

// words[i] = (hash(seed + i) & keep) | base: random numbers of every kind whose bits can be chosen one by one. Codes keep
// all bits; scales and weights keep sign and mantissa, and `base` is the exponent of their binade. One lane a word.

const LANES: u32 = 256;

struct Params {
    n_words: u32,
    seed: u32,
    keep: u32,
    base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> words: array<u32>; // [n_words]

// PCG-RXS-M-XS-32 (O'Neill, "PCG: A Family of Simple Fast Space-Efficient Statistically Good Algorithms", 2014) as a
// hash of a counter (Jarzynski and Olano, "Hash Functions for GPU Rendering", 2020).
fn pcg(counter: u32) -> u32 {
    let state = counter * 747796405u + 2891336453u;
    let word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
    return (word >> 22u) ^ word;
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.z * groups.x + group.x) * LANES + lane;
    if i < params.n_words {
        words[i] = (pcg(params.seed + i) & params.keep) | params.base;
    }
}
