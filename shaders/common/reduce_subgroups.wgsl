// part: reduce when subgroups
// gives override: THREADS, SUBGROUP
// gives const: MAX_GROUPS
// gives var: group_sums, place_of_sum
// gives fn: sum_of_neighbours, workgroup_sums, workgroup_sum

// As reduce.wgsl, by subgroups: aligned groups of SUBGROUP neighbouring lanes add up among themselves, then every such
// group adds the groups' sums. One barrier a sum: sums take turns at two places. The order of additions is fixed.

override THREADS: u32 = 128;
override SUBGROUP: u32 = 32; // lanes of the smallest subgroups of the device, a power of two from 8 on

const MAX_GROUPS: u32 = 128; // of 1024 lanes

var<workgroup> group_sums: array<vec2<f32>, 256>; // [2, MAX_GROUPS]
var<private> place_of_sum: u32 = 0u;

fn sum_of_neighbours(value: f32) -> f32 {
    var sum = value;
    for (var mask = 1u; mask < SUBGROUP; mask *= 2u) {
        sum += subgroupShuffleXor(sum, mask);
    }
    return sum;
}

// Two sums at once.
fn workgroup_sums(lane: u32, values: vec2<f32>) -> vec2<f32> {
    let part = vec2(sum_of_neighbours(values.x), sum_of_neighbours(values.y));
    let at = place_of_sum;
    place_of_sum = MAX_GROUPS - at;
    if lane % SUBGROUP == 0u {
        group_sums[at + lane / SUBGROUP] = part;
    }
    workgroupBarrier();
    var sum = vec2(0.0);
    for (var group = lane % SUBGROUP; group < THREADS / SUBGROUP; group += SUBGROUP) {
        sum += group_sums[at + group];
    }
    return vec2(sum_of_neighbours(sum.x), sum_of_neighbours(sum.y));
}

fn workgroup_sum(lane: u32, value: f32) -> f32 {
    let part = sum_of_neighbours(value);
    let at = place_of_sum;
    place_of_sum = MAX_GROUPS - at;
    if lane % SUBGROUP == 0u {
        group_sums[at + lane / SUBGROUP].x = part;
    }
    workgroupBarrier();
    var sum = 0.0;
    for (var group = lane % SUBGROUP; group < THREADS / SUBGROUP; group += SUBGROUP) {
        sum += group_sums[at + group].x;
    }
    return sum_of_neighbours(sum);
}
