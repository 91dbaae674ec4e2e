// needs rows: Row
// gives struct: Params
// gives var: params, k, v, rows, k_cache, v_cache
// gives fn: main

// Copies a chunk's keys and values from the step's rows into the ring, once attention has read what they overwrite:
// cache[slot, position % capacity] = new[t], for the last `capacity` rows of each slot. Both hold them alike, so that
// words are copied, whatever they mean. One workgroup a row.

struct Params {
    stride: u32, // quads of words a row
    capacity: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> k: array<vec4<u32>>;             // [rows, stride]
@group(0) @binding(2) var<storage, read> v: array<vec4<u32>>;             // [rows, stride]
@group(0) @binding(3) var<storage, read> rows: array<Row>;
@group(0) @binding(4) var<storage, read_write> k_cache: array<vec4<u32>>; // [slots * capacity, stride]
@group(0) @binding(5) var<storage, read_write> v_cache: array<vec4<u32>>; // [slots * capacity, stride]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = rows[group.y];
    if row.last_position - row.position >= params.capacity {
        return; // A later row of this step takes the place.
    }
    let to = (row.slot * params.capacity + row.position % params.capacity) * params.stride;
    for (var i = lane; i < params.stride; i += 64u) {
        k_cache[to + i] = k[group.y * params.stride + i];
        v_cache[to + i] = v[group.y * params.stride + i];
    }
}
