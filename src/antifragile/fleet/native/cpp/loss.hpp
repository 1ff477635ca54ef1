// Softmax cross-entropy and exact counting, on panels of logits (classes, TILE).
#pragma once

#include "simd.hpp"

namespace antifragile {

// Turns logits into the gradient of the mean loss, in place; returns the summed loss.
// n: samples of this panel that exist; weight: 1 / samples of the batch.
template <class T>
double cross_entropy_panel(T* logits, int64_t n_classes, const int64_t* labels, int n, T weight) {
    T best[TILE], total[TILE] = {}, share[TILE];
    std::memcpy(best, logits, sizeof best);
    for (int64_t c = 1; c < n_classes; ++c)
        for (int s = 0; s < TILE; ++s)
            best[s] = logits[c * TILE + s] > best[s] ? logits[c * TILE + s] : best[s];
    double loss = 0;
    for (int s = 0; s < n; ++s) loss += double(best[s]) - double(logits[labels[s] * TILE + s]);
    for (int64_t c = 0; c < n_classes; ++c)
        for (int s = 0; s < TILE; ++s) {
            const T e = exponential(logits[c * TILE + s] - best[s]);
            logits[c * TILE + s] = e;
            total[s] += e;
        }
    // log(a) + log(b) = log(ab): a few logarithms serve the panel (totals lie in [1, classes]).
    double product = 1;
    for (int s = 0; s < n; ++s) {
        product *= double(total[s]);
        if (s % 16 == 15 || s + 1 == n) {
            loss += std::log(product);
            product = 1;
        }
    }
    for (int s = 0; s < TILE; ++s) share[s] = s < n ? weight / total[s] : T(0);
    for (int64_t c = 0; c < n_classes; ++c)
        for (int s = 0; s < TILE; ++s) logits[c * TILE + s] *= share[s];
    for (int s = 0; s < n; ++s) logits[labels[s] * TILE + s] -= weight;
    return loss;
}

// Samples whose own class has the first largest logit; NaN anywhere makes a sample wrong.
template <class T>
int64_t count_correct_panel(const T* logits, int64_t n_classes, const int64_t* labels, int n) {
    int64_t correct = 0;
    for (int s = 0; s < n; ++s) {
        const T own = logits[labels[s] * TILE + s];
        bool first = true;
        for (int64_t c = 0; c < n_classes; ++c) {
            const T other = logits[c * TILE + s];
            first &= c < labels[s] ? own > other : own >= other;
        }
        correct += first;
    }
    return correct;
}

}  // namespace antifragile
