// part: kv_pack
// needs kv: KV_DTYPE, head_octets
// gives override: ROOM
// gives var: room
// gives fn: half_pair, half_octet, block_largest, block_scale, codes, packed_quad

// Rounds a head of keys or values to what the KV cache holds. The head stands in workgroup memory, with zeros behind it
// up to whole blocks of 32 values.

override ROOM: u32 = 128;

var<workgroup> room: array<vec4<f32>, ROOM>;

// Keys and values are normed, of order 1 to 40: what is beyond f16 all the same becomes its largest value, not infinity.
// NaN stays NaN; its bits tell it apart, because clamp may do anything with it.
fn half_pair(values: vec2<f32>) -> u32 {
    let is_nan = (bitcast<vec2<u32>>(values) & vec2(0x7fffffffu)) > vec2(0x7f800000u);
    return pack2x16float(select(clamp(values, vec2(-65504.0), vec2(65504.0)), values, is_nan));
}

fn half_octet(lo: vec4<f32>, hi: vec4<f32>) -> vec4<u32> {
    return vec4(half_pair(lo.xy), half_pair(lo.zw), half_pair(hi.xy), half_pair(hi.zw));
}

// The largest |value| of the block of 8 vec4 from `at` on: as integers, which order numbers alike and NaN above them.
fn block_largest(at: u32) -> f32 {
    var largest = vec4(0u);
    for (var i = 0u; i < 8u; i++) {
        largest = max(largest, bitcast<vec4<u32>>(room[at + i]) & vec4(0x7fffffffu));
    }
    return bitcast<f32>(max(max(largest.x, largest.y), max(largest.z, largest.w)));
}

fn block_scale(at: u32, block: u32) -> u32 {
    if block * 4u >= head_octets() {
        return 0u;
    }
    return bitcast<u32>(block_largest(at + 8u * block) * (1.0 / 127.0));
}

fn codes(values: vec4<f32>, inverse: f32) -> u32 {
    return pack4xI8(clamp(vec4<i32>(round(values * inverse)), vec4(-127), vec4(127)));
}

// Quad i of the head whose first vec4 is room[at].
fn packed_quad(at: u32, i: u32) -> vec4<u32> {
    if KV_DTYPE == 0u {
        return bitcast<vec4<u32>>(room[at + i]);
    }
    if KV_DTYPE == 1u {
        return half_octet(room[at + 2u * i], room[at + 2u * i + 1u]);
    }
    let n_codes = head_octets() / 2u;
    if i < n_codes {
        let largest = block_largest(at + i / 2u * 8u);
        let inverse = select(127.0 / largest, 0.0, largest == 0.0);
        let first = at + 4u * i;
        return vec4(
            codes(room[first], inverse),
            codes(room[first + 1u], inverse),
            codes(room[first + 2u], inverse),
            codes(room[first + 3u], inverse),
        );
    }
    let block = 4u * (i - n_codes);
    return vec4(
        block_scale(at, block),
        block_scale(at, block + 1u),
        block_scale(at, block + 2u),
        block_scale(at, block + 3u),
    );
}
