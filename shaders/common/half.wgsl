// part: half
// gives fn: f16_value, bf16_value

// 16-bit floats decoded with integers. unpack2x16float may flush subnormals, and AutoRound's smallest f16 scales
// (1e-5) are subnormal.

// The value of the IEEE binary16 in the low 16 bits.
fn f16_value(bits: u32) -> f32 {
    let sign = (bits & 0x8000u) << 16u;
    let magnitude = bits & 0x7fffu;
    if magnitude < 0x0400u {
        let value = f32(magnitude) * 5.9604644775390625e-8; // 2^-24
        return select(value, -value, sign != 0u);
    }
    if magnitude >= 0x7c00u { // Infinity and NaN keep their meaning.
        return bitcast<f32>(sign | 0x7f800000u | ((magnitude & 0x03ffu) << 13u));
    }
    return bitcast<f32>(sign | ((magnitude << 13u) + 0x38000000u));
}

// The value of the bfloat16 in the low 16 bits.
fn bf16_value(bits: u32) -> f32 {
    return bitcast<f32>(bits << 16u);
}
