//! Bugs planted in what rounds activations and in what reads them: each is seen.

use lapidary::quant::Dtype;

use super::planted::{bug, sees};
use super::{rounded, rounding};

#[test]
fn bugs_of_rounded_products_are_caught() {
    for (bits, rows) in [(4, 1), (4, 5), (8, 1)] {
        rounded::check_bits(bits, rows);
    }
    let four = || rounded::check_bits(4, 1);
    sees(bug("odd codes as even ones", "(packed >> vec2(4u))", "(packed >> vec2(0u))"), four);
    sees(bug("second block with the first's scale", "dot(sums, c.scales.xy)", "dot(sums, c.scales.xx)"), four);
    sees(bug("zero point of the first block only", "(c.scales.z + c.scales.w)", "c.scales.z"), four);
    sees(bug("first chunk everywhere", "3u * row * chunks + chunk", "3u * row * chunks"), four);
    let several = || rounded::check_bits(4, 5);
    sees(bug("last row missing", "p < ids[0]", "p + 1u < ids[0]"), several);
    let eight = || rounded::check_bits(8, 1);
    sees(bug("codes of 8 bits unsigned", "packed ^ vec4(0x80808080u)", "packed"), eight);
    sees(bug("activations of 8 bits out of order", "let first = in_order(x.x, x.y)", "let first = x.xy"), eight);
}

#[test]
fn bugs_of_rounding_are_caught() {
    let held = || rounding::check_norms(36, 32, &[2]);
    held();
    sees(bug("largest of two quads", "max(low, max(magnitudes[first + 2u], magnitudes[first + 3u]))", "low"), held);
    sees(bug("even words everywhere", "(even >> 16u) | (odd & 0xffff0000u), lane % 2u == 1u", "even, false"), held);
    sees(bug("sum of three quads", "+ dot4I8Packed(packed[lane + 3u], 0x01010101u)", ""), held);
    sees(bug("largest of two quads by shuffles", "largest = max(largest, subgroupShuffleXor(largest, 2u));", ""), held);
    sees(bug("sum of three quads by shuffles", "sum += subgroupShuffleXor(sum, 2u);", ""), held);
    sees(bug("own codes alone", "let other = subgroupShuffleXor(own, 1u);", "let other = own;"), held);
    let walked = || rounding::check_norms(33, 32, &[2]);
    walked();
    sees(bug("second output as the first", "array(y1[at], y1[at + 1u]", "array(y0[at], y0[at + 1u]"), walked);
    sees(bug("first block only", "block < (WIDTH + 15u) / 16u", "block < 1u"), walked);
}

#[test]
fn bugs_of_sums_within_subgroups_are_caught() {
    let norms = || rounding::check_norms(1028, 256, &[1]);
    let values = || super::rms_norm::check("sums", 256, &[1.0; 3 * 1028], 1028, &[0.5; 1028]);
    norms();
    values();
    sees(
        bug(
            "half of the neighbours",
            "for (var mask = 1u; mask < SUBGROUP; mask *= 2u)",
            "for (var mask = 2u; mask < SUBGROUP; mask *= 2u)",
        ),
        values,
    );
    sees(bug("first group alone", "sum += group_sums[at + group].x;", "sum = group_sums[at].x;"), values);
    let product = || rounded::check_bits(4, 1);
    sees(
        bug(
            "neighbours of a block",
            "for (var mask = 1u; mask < n; mask *= 2u)",
            "for (var mask = 2u; mask < n; mask *= 2u)",
        ),
        product,
    );
    sees(bug("groups of a block", "sum += partial[lane / SUBGROUP + group];", ""), || rounded::check_lanes(64));
    let beside = || rounding::check_beside_wide(1);
    sees(bug("groups of a workgroup", "sum += partial[group];", ""), beside);
}

#[test]
fn bugs_beside_products_are_caught() {
    let beside = || rounding::check_beside(5, 33, 64, Dtype::BF16);
    beside();
    sees(bug("first half of a quad's weights", "select(eight.xy, eight.zw, quad % 2u == 1u)", "eight.xy"), beside);
    sees(bug("first row of x", "(group.y * X_ROWS + t) * BESIDE_X", "(group.y * X_ROWS) * BESIDE_X"), beside);
    sees(bug("choice of one row", "let row = group.y * X_ROWS + group.x;", "let row = group.y * X_ROWS;"), beside);
    sees(bug("product beside itself", "(group.x - BESIDE + group.z", "(group.x + group.z"), beside);
}
