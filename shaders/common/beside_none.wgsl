// part: beside
// gives const: BESIDE
// gives fn: beside

// matvec.wgsl does nothing beside its product.

const BESIDE: u32 = 0u;

fn beside(group: vec3<u32>, lane: u32) {
}
