// part: enable_f16
// gives enable: f16

enable f16;
