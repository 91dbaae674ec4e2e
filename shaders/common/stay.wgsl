// Workgroups of a norm beside those that have its rows: none.

const BESIDE: u32 = 0u;

fn beside(group: vec3<u32>, lane: u32) {
}
