// Sum over a workgroup of THREADS lanes, a power of two. Every lane gets the sum; the order of additions is fixed.

override THREADS: u32 = 128;

var<workgroup> partial_sums: array<f32, THREADS>;

fn workgroup_sum(lane: u32, value: f32) -> f32 {
    partial_sums[lane] = value;
    for (var half = THREADS / 2u; half > 0u; half >>= 1u) {
        workgroupBarrier();
        if lane < half {
            partial_sums[lane] += partial_sums[lane + half];
        }
    }
    workgroupBarrier();
    let sum = partial_sums[0];
    workgroupBarrier(); // The next sum may overwrite what a slow lane still reads.
    return sum;
}
