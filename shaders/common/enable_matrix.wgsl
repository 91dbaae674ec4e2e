// part: enable_matrix
// gives enable: f16, wgpu_cooperative_matrix

enable f16;
enable wgpu_cooperative_matrix;
