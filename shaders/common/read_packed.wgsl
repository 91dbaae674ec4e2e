// Eight quantized weights in two steps, so that what is read from storage can wait in registers.

struct Read8 {
    packed: vec2<u32>,
    scale: f32,
    zero: f32,
}

// What weights [row, 8 * word .. 8 * word + 8] are made from.
fn read8(row: u32, word: u32) -> Read8 {
    var read: Read8;
    if BITS == 8u {
        let at = row * params.row_words + word * 2u;
        let four = codes[at / 4u];
        read.packed = select(four.xy, four.zw, at % 4u == 2u);
    } else {
        let at = row * params.row_words + word;
        read.packed = vec2(codes[at / 4u][at % 4u], 0u);
    }
    if RUN >= 8u {
        let group = group_of(row, word * 8u);
        read.scale = scale_of(row, group);
        read.zero = zero_of(row, group);
    }
    return read;
}

// They, times `factor`.
fn weights_of(read: Read8, row: u32, word: u32, factor: f32) -> array<vec4<f32>, 2> {
    if RUN >= 8u {
        return decode8(read.packed, read.scale * factor, read.zero);
    }
    let w = decode8_at(row, word * 8u, read.packed);
    return array(w[0] * factor, w[1] * factor);
}
