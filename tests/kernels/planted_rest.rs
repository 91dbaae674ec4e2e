//! Bugs planted in norms, choices, draws, copies and gates: each is seen.

use super::planted::{bug, sees};
use super::{
    add_norm, argmax, copy_words, embed, experts, fill_random, gather_rows, gelu_mul, matvec, moe_combine,
    per_layer_inputs, product, rms_norm, router, sample, strip_max, suppress,
};
use crate::common::random::{Random, Spread};

#[test]
fn bugs_of_norms_are_caught() {
    let norms = || {
        rms_norm::check("small", 32, &[0.5; 96], 32, &[1e-4; 64]);
        rms_norm::check("ordinary", 32, &Random::new(513).values(99, Spread::Normal), 33, &[1.5; 66]);
    };
    norms();
    sees(bug("no epsilon", " + params.eps", ""), norms);
    sees(bug("first norm", "params.weight * quads", "0u * quads"), norms);
    sees(bug("last value left out of the sum", "i < WIDTH; i += THREADS", "i + 1u < WIDTH; i += THREADS"), norms);
    let x = Random::new(519).values(520, Spread::Normal);
    let held = || rms_norm::check("held", 32, &Random::new(513).values(780, Spread::Normal), 260, &x);
    held();
    sees(
        bug("last quad twice in the sum", "select(0.0, dot(value, value), is_held(lane, j))", "dot(value, value)"),
        held,
    );
    sees(bug("last quad left out", "lane + j * THREADS < WIDTH / 4u", "lane + j * THREADS + 1u < WIDTH / 4u"), held);
    sees(bug("a column of the sum missing", "four_columns(12u)", "four_columns(8u)"), held);
    sees(bug("half a column missing", "if k < THREADS / 16u", "if k < THREADS / 32u"), held);
}

#[test]
fn bugs_of_joined_streams_are_caught() {
    let adds = |width: usize| move || add_norm::check(&mut Random::new(514), 32, width, 3, 3, 0.37);
    let (held, walked) = (260, 33);
    adds(held)();
    adds(walked)();
    let (from, to) = ("(h[at][i % 4u] + normed) * params.scalar", "h[at][i % 4u] + normed * params.scalar");
    sees(bug("scalar on x alone", from, to), adds(walked));
    sees(bug("third output with the second's norm", "weight + 2u * quads", "weight + quads"), adds(walked));
    let from = "h[at][i % 4u] = value;\n        squares += value * value";
    sees(
        bug("norm of h before the sum", from, "h[at][i % 4u] = value;\n        squares += normed * normed"),
        adds(walked),
    );
    let (from, to) = ("post_factor * post) * params.scalar", "post_factor * post * params.scalar)");
    sees(bug("scalar on x alone, held", from, to), adds(held));
    sees(bug("third output with the second's norm, held", "params.pre + 2u", "params.pre + 1u"), adds(held));
    sees(bug("h is not written", "h[at] = q[j].value;", "h[at] = q[j].h;"), adds(held));
    let combines = |width: usize| move || moe_combine::check(&mut Random::new(515), 32, width, 2, 0.7);
    combines(held)();
    combines(walked)();
    for width in [held, walked] {
        sees(bug("experts with the dense norm", "norm(params.post_2,", "norm(params.post_1,"), combines(width));
        sees(bug("experts with the factor of the MLP", "rms_factor(both.y)", "rms_factor(both.x)"), combines(width));
    }
}

#[test]
fn bugs_of_per_layer_inputs_are_caught() {
    let inputs = || per_layer_inputs::check(&mut Random::new(517), 3, 5, 33, Spread::Normal);
    inputs();
    sees(bug("no root of two", "0.70710678118654752", "1.0"), inputs);
    sees(bug("every layer reads the first", "group.x * params.n", "0u * params.n"), inputs);
    sees(bug("norm over all layers", "f32(params.n)", "f32(params.stride)"), inputs);
    sees(bug("last value left out", "i < params.n; i += THREADS", "i + 1u < params.n; i += THREADS"), inputs);
}

#[test]
fn bugs_of_choices_are_caught() {
    let routes = || {
        let mut random = Random::new(516);
        let logits: Vec<f32> = (0..64).map(|_| random.below(5) as f32).collect();
        router::check("ties", 16, 4, &logits, &random.values(16, Spread::Uniform));
        router::check("shared", 64, 4, &logits, &random.values(64, Spread::Uniform));
    };
    routes();
    sees(bug("tie to the higher expert", "< vec4(e % 4u)", "> vec4(e % 4u)"), routes);
    sees(bug("tie to the higher quad", "quad < vec4(e / 4u)", "quad > vec4(e / 4u)"), routes);
    sees(bug("scale of the slot", "expert_scales[e];", "expert_scales[slot];"), routes);
    sees(bug("not renormalized", "exp(top_logit[slot] - largest) / sum", "exp(top_logit[slot] - largest)"), routes);
    sees(bug("last part missing", "part < PARTS", "part + 1u < PARTS"), routes);
    sees(bug("every part the first", "i / N_EXPERTS * PART_QUADS", "0u"), routes);
    let greedy = || {
        let mut random = Random::new(517);
        let logits: Vec<f32> = (0..3 * 600).map(|_| random.below(3) as f32).collect();
        argmax::check("ties", 600, &logits);
        // Quad 15: the last of 16 columns, whatever the number of lanes.
        argmax::check("column 15", 600, &[vec![-1.0; 63], vec![1.0], vec![-1.0; 536]].concat());
        argmax::check("masked", 600, &[vec![f32::MIN; 599], vec![-3.4e38]].concat());
    };
    greedy();
    sees(bug("later of a lane's equals", "candidate > value", "candidate >= value"), greedy);
    sees(bug("higher of two lanes' equals", "let closer = b.index <", "let closer = b.index >"), greedy);
    let first = "var value = logits[row + index / 4u][index % 4u];";
    sees(bug("starts from a constant", first, "var value = -3.39e38;"), greedy);
    sees(bug("last column missing", "column < 16u", "column < 15u"), greedy);
    sees(bug("last part missing", "min(lane, params.parts - 1u)", "min(lane, max(params.parts, 2u) - 2u)"), greedy);
    sees(bug("padding is a candidate", "4u * quad + c < params.width", "true"), || {
        argmax::check("short last quad", 5, &[-1.0; 10]);
    });
}

#[test]
fn bugs_of_draws_are_caught() {
    let draws = || {
        let mut random = Random::new(522);
        let negative: Vec<f32> = random.values(2 * 331, Spread::Normal).iter().map(|v| v - 9.0).collect();
        sample::check("negative", 331, &negative);
        sample::check("three values", 331, &(0..331).map(|_| random.below(3) as f32 - 1.0).collect::<Vec<_>>());
        sample::check("equal", 331, &(0..331).map(|i| if i % 2 == 0 { -0.0 } else { 0.0 }).collect::<Vec<_>>());
        sample::check("the last", 331, &[vec![-1.0; 330], vec![5.0]].concat());
        sample::check("one left", 5, &[f32::NEG_INFINITY, -1.0, f32::NEG_INFINITY, -2.0, -3.0]);
    };
    draws();
    sees(bug("last strips or tokens missing", "i < n_quads; i +=", "i + 1u < n_quads; i +="), draws);
    sees(bug("higher ids of equals stay", "- 1u) - ids_of(quad);", "& 0u) + ids_of(quad);"), draws);
    sees(bug("higher id of equals first", "let is_earlier = a.id <", "let is_earlier = a.id >"), draws);
    sees(bug("last bit of places ignored", "round < 32u + PLACE_BITS", "round < 31u + PLACE_BITS"), draws);
    sees(bug("last bit of keys ignored", "1u << (31u - round)", "2u << (31u - round)"), draws);
    sees(bug("top-p of one", "draw.top_p * total", "draw.top_p"), draws);
    sees(bug("drawn among all", "draw.random * kept", "draw.random * total"), draws);
    sees(bug("no temperature", "- largest) * draw.inverse_temperature", "- largest)"), draws);
    sees(bug("the first row's draw", "let draw = draws[row];", "let draw = draws[0];"), draws);
    sees(bug("zeros of two signs", "vec4(0x80000000u), magnitude ==", "~bits, magnitude =="), draws);
    sees(bug("negative ones upside down", "select(~bits, vec4", "select(~bits ^ vec4(0x7fffffffu), vec4"), draws);
    sees(bug("minus infinity is garbage", "vec4(NO_TOKEN), bits ==", "keys, bits =="), draws);
    sees(bug("padding is a token", "ids_of(quad) < vec4(params.width)", "vec4<bool>(true)"), draws);
    let strips = || {
        let mut logits = Random::new(523).values(662, Spread::Normal);
        logits[2 * 64 - 1] = 100.0; // The last of a strip.
        strip_max::check("random", 331, &logits);
    };
    strips();
    sees(bug("last quad of a strip missing", "i < STRIP_QUADS; i++", "i + 1u < STRIP_QUADS; i++"), strips);
    sees(bug("every row's strips are the first's", "maxima[group.y * params.strips + strip]", "maxima[strip]"), strips);
    let suppressed = || suppress::check("two rows", 33, 2, &[33, 5, 64]);
    suppressed();
    sees(bug("padding suppressed", "suppressed[lane] < params.width", "suppressed[lane] < params.stride"), suppressed);
    sees(bug("suppressed in the first row", "logits[group.y * params.stride + supp", "logits[supp"), suppressed);
    sees(bug("last id forgotten", "lane < params.n_ids &&", "lane + 2u < params.n_ids &&"), suppressed);
}

#[test]
fn bugs_of_copies_and_gates_are_caught() {
    let gates = || {
        let mut random = Random::new(518);
        let (gate, up) = (random.values(130, Spread::Normal), random.values(130, Spread::Normal));
        gelu_mul::check("gates", 65, &gate, &up, 2);
    };
    gates();
    sees(
        bug(
            "gate and up swapped",
            "gelu(gate[group.y * params.gate_stride + i]) * factor",
            "gate[group.y * params.gate_stride + i] * gelu(factor)",
        ),
        gates,
    );
    sees(bug("another cubic", "0.044715", "0.0447"), gates);
    sees(bug("no last value", "if i < params.width", "if i + 1u < params.width"), gates);
    sees(bug("padding written", "if i < params.width", "if i < params.y_stride"), gates);
    let gathers = || gather_rows::check(&[65]);
    gathers();
    sees(bug("rows in order", "chosen[group.y] *", "min(chosen[group.y], group.y) *"), gathers);
    sees(bug("padding copied", "i < params.width", "i < params.stride"), gathers);
    let embeds = || embed::check(&[33]);
    embeds();
    sees(bug("parts all start at token 0", "token - params.first_token", "token"), embeds);
    sees(bug("no embedding scale", " * params.scale", ""), embeds);
    sees(bug("half words swapped", "packed >> vec4(16u)", "packed & vec4(0xffffu)"), embeds);
    let packed = || embed::check_packed(&[(80, 32)]);
    packed();
    sees(bug("table's parts all start at token 0", "token - params.first_token", "token"), packed);
    sees(bug("first group for all", "(params.first_row + k) / GROUP_SIZE", "0u"), packed);
    sees(bug("scales of the first row", "row * params.scale_words", "0u"), packed);
    sees(bug("zero points of the first row", "row * params.zero_words", "0u"), packed);
    product::check_softcap();
    sees(bug("no softcap", "if params.softcap == 0.0", "if true"), product::check_softcap);
    experts::check_dense_stack();
    sees(bug("a row of x for each row of y", "/ params.x_repeat", "/ 1u"), experts::check_dense_stack);
    sees(bug("parts all start at expert 0", "ids[p] - params.first_matrix", "ids[p]"), experts::check_dense_stack);
    let gates = || matvec::check_gated(3, 40);
    gates();
    let from = "gelu(sums[r]) * sums[r + n_outputs]";
    sees(bug("up is gated by gate's place", from, "sums[r] * gelu(sums[r + n_outputs])"), gates);
    let sums = || matvec::check_sum(2..5, 5, 40);
    sums();
    sees(bug("a later part overwrites", "y[to] += sums[r];", "y[to] = sums[r];"), sums);
    sees(
        bug("every slot's factor is the first's", "factor *= factor_of(slot);", "factor *= factor_of(p * SLOTS);"),
        sums,
    );
    sees(bug("other ranks' experts count", "ids[slot] - params.first_matrix", "(ids[slot] % params.n_matrices)"), sums);
}

#[test]
fn bugs_of_whole_buffers_are_caught() {
    let fills = || fill_random::check(&[260]);
    fills();
    sees(bug("no seed", "pcg(params.seed + i)", "pcg(i)"), fills);
    sees(bug("only the random bits", "& params.keep) | params.base", "& params.keep)"), fills);
    sees(bug("another shift", "word >> 22u", "word >> 21u"), fills);
    sees(bug("last word missing", "if i < params.n_words", "if i + 1u < params.n_words"), fills);
    let copies = || copy_words::check(&[1028]);
    copies();
    sees(bug("first workgroup only", "+ group.x) * LANES", ") * LANES"), copies);
    sees(bug("last words missing", "if i < params.n_quads", "if i + 1u < params.n_quads"), copies);
}
