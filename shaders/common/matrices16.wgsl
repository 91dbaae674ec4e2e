// Cooperative matrices of 16 x 16.
const SIDE: u32 = 16u;
alias MatrixA = coop_mat16x16<f16, A>;
alias MatrixB = coop_mat16x16<f16, B>;
alias Sums = coop_mat16x16<f32, C>;
