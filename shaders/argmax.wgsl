// ids[t] = the index of the largest of logits[t], the lowest index on a tie: greedy choice. One workgroup a row.
// NOT_FINITE where a logit is NaN or plus infinity: never a token from garbage.

const LANES: u32 = 256;
const NOT_FINITE: u32 = 0xffffffffu;

struct Params {
    width: u32,
    stride: u32, // of logits
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;    // [rows, stride]
@group(0) @binding(2) var<storage, read_write> ids: array<u32>; // [rows]

var<workgroup> best_value: array<f32, LANES>;
var<workgroup> best_index: array<u32, LANES>;

fn is_garbage(value: f32) -> bool {
    let bits = bitcast<u32>(value);
    return (bits & 0x7f800000u) == 0x7f800000u && bits != 0xff800000u;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    // Starts at a value of the row, not at a constant: masked logits may lie below every constant. A lane beyond the row
    // takes its last value once more, which changes nothing.
    var index = min(lane, params.width - 1u);
    var value = logits[group.y * params.stride + index];
    var garbage = is_garbage(value);
    for (var i = lane + LANES; i < params.width; i += LANES) {
        let candidate = logits[group.y * params.stride + i];
        garbage = garbage || is_garbage(candidate);
        if candidate > value {
            value = candidate;
            index = i;
        }
    }
    best_value[lane] = value;
    best_index[lane] = select(index, NOT_FINITE, garbage);
    for (var half = LANES / 2u; half > 0u; half >>= 1u) {
        workgroupBarrier();
        if lane < half {
            let other = best_value[lane + half];
            let closer = best_index[lane + half] < best_index[lane];
            if best_index[lane] == NOT_FINITE || best_index[lane + half] == NOT_FINITE {
                best_index[lane] = NOT_FINITE;
            } else if other > best_value[lane] || (other == best_value[lane] && closer) {
                best_value[lane] = other;
                best_index[lane] = best_index[lane + half];
            }
        }
    }
    if lane == 0u {
        ids[group.y] = best_index[0];
    }
}
