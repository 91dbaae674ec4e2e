// part: kv
// gives override: KV_DTYPE, HEAD_DIM
// gives struct: Octet, Packed
// gives fn: head_octets, head_quads, quad_a, quad_b, octet, packed_half

// How the KV cache holds a head: quads of words, for HEAD_DIM values and zeros up to whole blocks of 32.
// f32: 4 values a quad. f16: 8. int8: 16 codes a quad, value j in byte j, then 4 scales a quad, one for each block.
// An octet is 8 neighbouring values; what it needs stands in one quad or two.

override KV_DTYPE: u32 = 1;   // 0: f32, 1: f16, 2: int8
override HEAD_DIM: u32 = 256; // a multiple of 8

fn head_octets() -> u32 {
    return (HEAD_DIM + 31u) / 32u * 4u;
}

fn head_quads() -> u32 {
    if KV_DTYPE == 0u {
        return 2u * head_octets();
    }
    if KV_DTYPE == 1u {
        return head_octets();
    }
    return head_octets() / 2u + (head_octets() + 15u) / 16u;
}

struct Octet {
    lo: vec4<f32>,
    hi: vec4<f32>,
}

// Its two quads as they were loaded; of f16 there is one.
struct Packed {
    a: vec4<u32>,
    b: vec4<u32>,
}

fn quad_a(o: u32) -> u32 {
    if KV_DTYPE == 0u {
        return 2u * o;
    }
    if KV_DTYPE == 1u {
        return o;
    }
    return o / 2u;
}

fn quad_b(o: u32) -> u32 {
    if KV_DTYPE == 0u {
        return 2u * o + 1u;
    }
    if KV_DTYPE == 1u {
        return o;
    }
    return head_octets() / 2u + o / 16u;
}

fn octet(packed: Packed, o: u32) -> Octet {
    if KV_DTYPE == 0u {
        return Octet(bitcast<vec4<f32>>(packed.a), bitcast<vec4<f32>>(packed.b));
    }
    if KV_DTYPE == 1u {
        let a = packed.a;
        return Octet(
            vec4(unpack2x16float(a.x), unpack2x16float(a.y)),
            vec4(unpack2x16float(a.z), unpack2x16float(a.w)),
        );
    }
    let scale = bitcast<f32>(packed.b[o / 4u % 4u]);
    let codes = select(packed.a.xy, packed.a.zw, o % 2u == 1u);
    return Octet(scale * vec4<f32>(unpack4xI8(codes.x)), scale * vec4<f32>(unpack4xI8(codes.y)));
}

// Quad `quad` of a head, which stands in half of an octet. Of f16 and int8 the words of that half alone were loaded, and the
// scale behind them.
fn packed_half(packed: Packed, quad: u32) -> vec4<f32> {
    if KV_DTYPE == 0u {
        return bitcast<vec4<f32>>(packed.a);
    }
    if KV_DTYPE == 1u {
        return vec4(unpack2x16float(packed.a.x), unpack2x16float(packed.a.y));
    }
    return bitcast<f32>(packed.a.y) * vec4<f32>(unpack4xI8(packed.a.x));
}
