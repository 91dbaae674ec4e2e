//! GPTQ and AutoRound: `qweight`, `qzeros`, `scales`, `g_idx`.
