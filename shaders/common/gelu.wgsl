// part: gelu
// gives fn: gelu

// gelu(x) = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))), the tanh form.
// The bound of 15 changes nothing in f32 and keeps drivers that compute tanh from exp away from infinity.
fn gelu(x: f32) -> f32 {
    return 0.5 * x * (1.0 + tanh(clamp(0.7978845608028654 * (x + 0.044715 * x * x * x), -15.0, 15.0)));
}
