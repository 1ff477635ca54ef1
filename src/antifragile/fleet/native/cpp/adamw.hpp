// AdamW with decoupled weight decay, as torch.optim.AdamW computes it for one tensor.
//
//     w <- w (1 - lr wd);  m <- m + (1 - b1)(g - m);  v <- b2 v + (1 - b2) g^2
//     w <- w - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
//
// Bias corrections are computed in double. Source: Loshchilov and Hutter, 2019.
#pragma once

#include "simd.hpp"

namespace antifragile {

struct AdamWOptions {
    double learning_rate, beta1, beta2, epsilon;
};

template <class T>
struct AdamW {
    T new_first, old_second, new_second, step_size, root_scale, epsilon;

    AdamW(const AdamWOptions& o, int64_t t)
        : new_first(T(1 - o.beta1)),
          old_second(T(o.beta2)),
          new_second(T(1 - o.beta2)),
          step_size(T(o.learning_rate / (1 - std::pow(o.beta1, double(t))))),
          root_scale(T(1 / std::sqrt(1 - std::pow(o.beta2, double(t))))),
          epsilon(T(o.epsilon)) {}

    // Updates n parameters; `keep` is 1 - lr wd in T, which is exactly 1 where decay rounds away.
    void update(T* __restrict w, T* __restrict m, T* __restrict v, const T* __restrict g,
                int64_t n, T keep) const {
        const AdamW self = *this;
#pragma GCC ivdep
        for (int64_t i = 0; i < n; ++i) {
            const T first = m[i] + self.new_first * (g[i] - m[i]);
            const T second = v[i] * self.old_second + self.new_second * (g[i] * g[i]);
            m[i] = first;
            v[i] = second;
            const T root = std::sqrt(second) * self.root_scale + self.epsilon;
            w[i] = w[i] * keep - self.step_size * (first / root);
        }
    }
};

}  // namespace antifragile
