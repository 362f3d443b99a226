// Message passing on bonds from its inputs to its output, and its gradient, each in one pass over blocks of samples that
// stay in the cache. Compiled by native.py, called by passing.py; the equations are in message_passing.py.
//
// Neither the batch nor the number of threads changes a bit of what belongs to a sample. The slopes of the parameters
// are sums over the batch, in an order that the batch and the shape of a sample fix.

#include "passing_gradient.h"

namespace {

template <typename T> std::vector<Kept<T>> layers_of(const Plan<T>& p, T* block) {
    std::vector<Kept<T>> kept;
    for (int64_t l = 0; l <= p.shape.layers; l++) kept.emplace_back(p, block + l * Kept<T>::size(p));
    return kept;
}

constexpr int64_t SUM = 4096;  // slopes that are summed over the chunks at once

template <typename T> HOT void add(T* __restrict to, const T* __restrict from, int64_t n) {
    for (int64_t k = 0; k < n; k++) to[k] += from[k];
}

// saved: blocks x block_size, or null where no gradient will be asked for
template <typename T> void forward(const Shape& shape, const Inputs<T>& in, T* out, T* saved) {
    const Plan<T> p(shape);
    const Packed<T> packed(p, in.weights);
    const Layers<T> layers{p, packed, in};
#pragma omp parallel num_threads(std::min(shape.threads, p.blocks))
    {
        Work<T> work(p);
        Aligned<T> own(saved ? 1 : Kept<T>::size(p));
#pragma omp for schedule(static)
        for (int64_t number = 0; number < p.blocks; number++) {
            std::vector<Kept<T>> kept(shape.layers + 1, Kept<T>(p, own));
            if (saved) kept = layers_of(p, saved + number * Kept<T>::block_size(p));
            layers.forward(Block::of(p, number), kept.data(), work, out);
        }
    }
}

template <typename T>
void backward(const Shape& shape, const Inputs<T>& in, const T* slope, T* saved, const Slopes<T>& out) {
    const Plan<T> p(shape);
    const Packed<T> packed(p, in.weights);
    const Layers<T> layers{p, packed, in};
    const int64_t chunks = std::min(CHUNKS, p.blocks), total = p.weights.total;
    const Aligned<T> parts(out.weights ? chunks * total : 1);
#pragma omp parallel num_threads(std::min(shape.threads, chunks))
    {
        Work<T> work(p);
        Back<T> back(p);
#pragma omp for schedule(static)
        for (int64_t chunk = 0; chunk < chunks; chunk++) {
            const Gradient<T> gradient{layers, out, out.weights ? parts + chunk * total : nullptr};
            for (int64_t number = chunk * p.blocks / chunks; number < (chunk + 1) * p.blocks / chunks; number++) {
                std::vector<Kept<T>> kept = layers_of(p, saved + number * Kept<T>::block_size(p));
                gradient.backward(Block::of(p, number), slope, kept.data(), work, back);
            }
        }
#pragma omp for schedule(static)
        for (int64_t at = 0; at < (out.weights ? total : 0); at += SUM) {
            const int64_t n = std::min(SUM, total - at);
            std::copy_n(parts + at, n, out.weights + at);
            for (int64_t chunk = 1; chunk < chunks; chunk++) add(out.weights + at, parts + chunk * total + at, n);
        }
    }
}

}  // namespace

#define ENTRIES(NAME, TYPE)                                                                                          \
    extern "C" int64_t passing_saved_##NAME(const Shape* shape) {                                                    \
        const Plan<TYPE> p(*shape);                                                                                  \
        return p.blocks * Kept<TYPE>::block_size(p);                                                                 \
    }                                                                                                                \
    extern "C" void passing_forward_##NAME(const Shape* shape, const Inputs<TYPE>* in, TYPE* out, TYPE* saved) {     \
        forward<TYPE>(*shape, *in, out, saved);                                                                      \
    }                                                                                                                \
    extern "C" void passing_backward_##NAME(const Shape* shape, const Inputs<TYPE>* in, const TYPE* slope,           \
                                            TYPE* saved, const Slopes<TYPE>* out) {                                  \
        backward<TYPE>(*shape, *in, slope, saved, *out);                                                             \
    }

ENTRIES(float32, float)
ENTRIES(float64, double)
