// gives const: LANES
// gives struct: Params
// gives var: params, x, y
// gives fn: main

// y[i] = x[i], 16 bytes a lane: what a device's memory can do at best, to measure kernels against.

const LANES: u32 = 256;

struct Params {
    n_quads: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;       // [n_quads]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<u32>>; // [n_quads]

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.z * groups.x + group.x) * LANES + lane;
    if i < params.n_quads {
        y[i] = x[i];
    }
}
