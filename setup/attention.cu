// Deformable attention of mmcv, by itself: its source as it is, and the two names under which Python asks for it.
#include <torch/extension.h>

#include "ms_deform_attn_cuda.cu"

at::Tensor forward(const at::Tensor &value, const at::Tensor &shapes, const at::Tensor &starts,
                   const at::Tensor &locations, const at::Tensor &weights, const int step) {
    at::DeviceGuard guard(value.device());
    return ms_deform_attn_cuda_forward(value, shapes, starts, locations, weights, step);
}

void backward(const at::Tensor &value, const at::Tensor &shapes, const at::Tensor &starts, const at::Tensor &locations,
              const at::Tensor &weights, const at::Tensor &grad, at::Tensor &grad_value, at::Tensor &grad_locations,
              at::Tensor &grad_weights, const int step) {
    at::DeviceGuard guard(value.device());
    ms_deform_attn_cuda_backward(value, shapes, starts, locations, weights, grad, grad_value, grad_locations,
                                 grad_weights, step);
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
    using pybind11::arg;
    m.def("ms_deform_attn_forward", &forward, arg("value"), arg("value_spatial_shapes"),
          arg("value_level_start_index"), arg("sampling_locations"), arg("attention_weights"), arg("im2col_step"));
    m.def("ms_deform_attn_backward", &backward, arg("value"), arg("value_spatial_shapes"),
          arg("value_level_start_index"), arg("sampling_locations"), arg("attention_weights"), arg("grad_output"),
          arg("grad_value"), arg("grad_sampling_loc"), arg("grad_attn_weight"), arg("im2col_step"));
}
