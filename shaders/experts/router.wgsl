// needs choose: choose
// gives override: THREADS
// gives fn: main

// The experts of each row; common/choose.wgsl. One workgroup a row.

override THREADS: u32 = 256;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    choose(group.y, lane);
}
