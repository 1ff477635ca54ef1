// A group of replicas that read the same batches: one meta-loop's epoch and validation.
#pragma once

#include <atomic>
#include <cstdlib>
#include <new>

#include "trunk.hpp"

namespace antifragile {

// The replicas and data of one call; mirrored by `NativeJob` in fleet/native/library.py. Arrays of
// T are void here.
struct Job {
    int64_t n_layers;
    const int64_t* sizes;             // (n_layers + 1,) units from input to logits
    const int64_t* adds;              // (n_layers,) whether a layer ends a residual block
    const void* images;               // (n_train, sizes[0]) T, or (n_train, stored_pairs) Pair;
                                      // n_train = 0 only evaluates
    const int64_t* labels;            // (n_train,)
    int64_t n_train;
    const void* evaluation;           // by_feature panels of the samples to count
    const int64_t* evaluation_labels;
    int64_t n_evaluation;
    int64_t batch_size;
    AdamWOptions adamw;
    int64_t n_groups;
    const int64_t* group_start;       // (n_groups + 1,) into the replicas
    const int64_t* const* orders;     // (n_groups,) of (n_train,)
    void* const* weights;             // (replicas,) of (parameters,) T, updated in place
    const double* weight_decay;       // (replicas,)
    const double* dropout;
    const double* block_dropout;      // inside residual blocks
    const uint64_t* dropout_key;
    const int64_t* meta_loop;
    double* train_loss;               // (replicas,) out: mean over the epoch's samples
    int64_t* correct;                 // (replicas,) out
    int64_t threads;
    const int32_t* stop;              // set from outside to end early
    void* const* first_moment;        // (replicas,) of (parameters,) T, updated in place; a null
    void* const* second_moment;       // pointer where the optimizer is fresh and forgotten
    const int64_t* steps;             // (n_groups,) updates that the optimizers have made before
};

// T: weights; Q: operands of the first and the wide products, T or Pair.
template <class T, class Q>
class Group {
public:
    Group(const Job& job, const Network& net, int64_t n_replicas)
        : job_(job),
          net_(net),
          n_features_(net.layers[0].fan_in),
          stride_(net.layers[0].stride),
          capacity_(round_up(std::min(job.batch_size, std::max(job.n_train, int64_t(TILE))), TILE)),
          rows_(n_replicas * net.first_width()),
          first_(3 * rows_ * stride_),
          regions_(3 * n_replicas * net.region),
          pairs_(rounds ? n_replicas * net.pairs + rows_ * stride_ / 2 : 0),
          panel_(depth() * TILE),
          hidden_(rows_ * capacity_),
          gradient_(rows_ * capacity_),
          left_(rounds ? rows_ * capacity_ / 2 : 0),
          bias_(rows_),
          batch_(n_features_, capacity_),
          trunk_(net, capacity_),
          replicas_(size_t(n_replicas)) {}

    void run(int64_t group) {
        begin_ = job_.group_start[group];
        count_ = job_.group_start[group + 1] - begin_;
        rows_ = count_ * net_.first_width();
        enter();
        if (job_.n_train) train(job_.orders[group], job_.steps[group]);
        evaluate();
        if (job_.n_train)
            for (int64_t i = 0; i < count_; ++i) leave(replicas_[size_t(i)], begin_ + i);
    }

private:
    static constexpr bool rounds = packed<Q> > 1;

    // Elements along the sum of a first-layer product.
    int64_t depth() const { return (n_features_ + packed<Q> - 1) / packed<Q>; }

    void enter() {
        const int64_t matrix = net_.first_width() * stride_;
        const int64_t all = count_ * matrix, regions = count_ * net_.region;
        std::fill_n(first_.data(), 3 * all, T(0));
        std::fill_n(regions_.data(), 3 * regions, T(0));
        for (int64_t i = 0; i < count_; ++i) {
            Replica<T>& r = replicas_[size_t(i)];
            r.first_weight = first_.data() + i * matrix;
            r.first_m = r.first_weight + all;
            r.first_v = r.first_m + all;
            r.weight = regions_.data() + i * net_.region;
            r.m = r.weight + regions;
            r.v = r.m + regions;
            r.pairs = rounds ? reinterpret_cast<Pair*>(pairs_.data()) + i * net_.pairs : nullptr;
            r.keep = T(1 - job_.adamw.learning_rate * job_.weight_decay[begin_ + i]);
            r.dropout = job_.dropout[begin_ + i];
            r.block_dropout = job_.block_dropout[begin_ + i];
            r.dropout_key = job_.dropout_key[begin_ + i];
            r.meta_loop = job_.meta_loop[begin_ + i];
            r.read(net_, static_cast<const T*>(job_.weights[begin_ + i]));
            if (job_.n_train && job_.first_moment[begin_ + i]) {
                r.first_moments().read(net_, static_cast<const T*>(job_.first_moment[begin_ + i]));
                r.second_moments().read(net_,
                                        static_cast<const T*>(job_.second_moment[begin_ + i]));
            }
            job_.train_loss[begin_ + i] = 0;
            trunk_.renew(r);
        }
        first_factors().renew();
    }

    // Weights, and moments where they are kept, written out.
    void leave(const Replica<T>& r, int64_t replica) const {
        r.write(net_, static_cast<T*>(job_.weights[replica]));
        if (!job_.first_moment[replica]) return;
        r.first_moments().write(net_, static_cast<T*>(job_.first_moment[replica]));
        r.second_moments().write(net_, static_cast<T*>(job_.second_moment[replica]));
    }

    // The first layers of all replicas, one matrix; there is no backward product.
    Factors<T, Q> first_factors() const {
        if constexpr (rounds)
            return {first_.data(), stride_, rows_,
                    pairs_.data() + int64_t(replicas_.size()) * net_.pairs, nullptr};
        else
            return {first_.data(), stride_, rows_};
    }

    void train(const int64_t* order, int64_t steps_before) {
        int64_t step = 0;
        for (int64_t at = 0; at < job_.n_train && !*job_.stop; at += job_.batch_size, ++step)
            train_batch(order + at, std::min(job_.batch_size, job_.n_train - at), step,
                        steps_before + step + 1);
        for (int64_t i = 0; i < count_; ++i) job_.train_loss[begin_ + i] /= double(job_.n_train);
    }

    // `step` counts from 0 in the epoch, `update` from 1 over all that the optimizers remember.
    void train_batch(const int64_t* order, int64_t n, int64_t step, int64_t update) {
        const AdamW<T> adamw(job_.adamw, update);
        const int64_t n_panels = round_up(n, TILE) / TILE;
        labels_.resize(size_t(n));
        for (int64_t s = 0; s < n; ++s) labels_[size_t(s)] = job_.labels[order[s]];
        batch_.find(static_cast<const Q*>(job_.images), order, n);
        join_biases();
        for (int64_t p = 0; p < n_panels; ++p) {
            pack_panel<Q>(batch_.panel(p), batch_.panel(p + 1), depth(), panel_.data());
            if constexpr (rounds) batch_.zip(p);
            forward_first(panel_.data(), p);
        }
        for (int64_t i = 0; i < count_; ++i) {
            Replica<T>& r = replicas_[size_t(i)];
            const Panels<T> logits = trunk_.forward(r, own(hidden_, i), n_panels, step);
            for (int64_t p = 0; p < n_panels; ++p)
                job_.train_loss[begin_ + i] += cross_entropy_panel<T>(
                    logits[p], net_.n_classes(), labels_.data() + p * TILE,
                    int(std::min<int64_t>(TILE, n - p * TILE)), T(1) / T(n));
            trunk_.backward(r, own(gradient_, i), n_panels, adamw);
        }
        const int64_t width = net_.first_width();
        T* const first = first_.data();
        Panels<Q> left;
        if constexpr (rounds) {
            pair_samples(gradient_.data(), n_panels * rows_, left_.data());
            left = {left_.data(), rows_ * PANEL_PAIRS};
        } else {
            left = {gradient_.data(), rows_ * TILE};
        }
        update_by_columns(left, n_panels, batch_.samples(), first_factors(), first,
                          first + rows_ * stride_, first + 2 * rows_ * stride_, adamw,
                          [&](int64_t row) { return replicas_[size_t(row / width)].keep; });
    }

    // The first layer of all replicas, one product with one panel of the shared batch.
    void forward_first(const Q* panel, int64_t p) {
        const Factors<T, Q> factors = first_factors();
        const Q* weight;
        if constexpr (rounds)
            weight = factors.by_input;
        else
            weight = factors.weight;
        forward_panel<T, Q>(weight, stride_ / packed<Q>, bias_.data(), panel, depth(), nullptr,
                            hidden_.data() + p * rows_ * TILE, rows_, true);
    }

    void join_biases() {
        const int64_t width = net_.first_width();
        for (int64_t i = 0; i < count_; ++i)
            std::copy_n(replicas_[size_t(i)].weight, width, bias_.data() + i * width);
    }

    void evaluate() {
        const Q* panels = static_cast<const Q*>(job_.evaluation);
        std::fill_n(job_.correct + begin_, count_, 0);
        join_biases();
        for (int64_t at = 0; at < job_.n_evaluation && !*job_.stop; at += capacity_) {
            const int64_t n = std::min(capacity_, job_.n_evaluation - at);
            const int64_t n_panels = round_up(n, TILE) / TILE;
            for (int64_t p = 0; p < n_panels; ++p)
                forward_first(panels + (at + p * TILE) * depth(), p);
            for (int64_t i = 0; i < count_; ++i) {
                const Panels<T> logits =
                    trunk_.forward(replicas_[size_t(i)], own(hidden_, i), n_panels, -1);
                for (int64_t p = 0; p < n_panels; ++p)
                    job_.correct[begin_ + i] += count_correct_panel<T>(
                        logits[p], net_.n_classes(), job_.evaluation_labels + at + p * TILE,
                        int(std::min<int64_t>(TILE, n - p * TILE)));
            }
        }
    }

    // The rows of one replica in a buffer of first-layer panels (rows, TILE).
    Panels<T> own(const Buffer<T>& panels, int64_t replica) const {
        return {panels.data() + replica * net_.first_width() * TILE, rows_ * TILE};
    }

    const Job& job_;
    const Network& net_;
    int64_t n_features_, stride_, capacity_, rows_, begin_ = 0, count_ = 0;
    Buffer<T> first_;    // weights, m, v: (rows, stride) each
    Buffer<T> regions_;  // weights, m, v: (replicas, region) each
    Buffer<Q> pairs_;    // rounded copies, where products are bf16: the replicas', the first layers'
    Buffer<Q> panel_;
    Buffer<T> hidden_, gradient_;
    Buffer<Q> left_;     // the first layers' rounded gradient
    Buffer<T> bias_;
    BatchRows<Q> batch_;
    Trunk<T, Q> trunk_;
    std::vector<Replica<T>> replicas_;
    std::vector<int64_t> labels_;
};

}  // namespace antifragile
