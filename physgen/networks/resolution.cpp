// Between two resolutions of physgen's U-Net, each in one pass: sites repeated 2^d times and added to a field, and the
// sum over blocks of 2^d sites. Called by resolution.py.
//
// Fields are channels last: (B, D, H, W, C); a lattice of two axes has D = 1, which is not halved.

#include "numbers.h"

namespace {

struct Blocks {
    int64_t batch, depth, height, width, channels;  // of the coarse field
    int64_t deep, threads;                          // 1 where D is halved
    double factor;

    int64_t lines() const { return batch * depth * height; }
    int64_t line() const { return width * channels; }
    int64_t fine_line() const { return 2 * line(); }
    int64_t rows() const { return deep ? 4 : 2; }  // fine lines of a coarse one
    // place of fine line r of a coarse line
    int64_t fine(int64_t line, int64_t r) const {
        const int64_t h = line % height, plane = line / height;  // planes of all samples: a sample has whole pairs
        const int64_t fine_plane = deep ? 2 * plane + r / 2 : plane;
        return (fine_plane * 2 * height + 2 * h + r % 2) * fine_line();
    }
};

// to = onto (if any) + factor * coarse for a fine line
template <int P, bool ONTO, typename T, typename A>
HOT void repeat_line(const T* coarse, const T* onto, T* to, A factor, int64_t c, int64_t width) {
    for (int64_t i = 0; i < width; i++)
        for (int64_t k = 0; k < c; k += P) {
            const vector<P, A> v = factor * load_row<P>(coarse + i * c + k);
            for (int64_t at = 2 * i * c + k; at < 2 * (i + 1) * c; at += c)
                store_row<P>(to + at, ONTO ? v + load_row<P>(onto + at) : v);
        }
}

// to = factor * sum over the blocks of R fine lines
template <int P, int R, typename T, typename A>
HOT void sum_lines(const T* const* lines, T* to, A factor, int64_t c, int64_t width) {
    for (int64_t i = 0; i < width; i++)
        for (int64_t k = 0; k < c; k += P) {
            vector<P, A> sum = {};
            for (int r = 0; r < R; r++) {
                const T* from = lines[r] + 2 * i * c + k;
                sum = sum + load_row<P>(from) + load_row<P>(from + c);
            }
            store_row<P>(to + i * c + k, factor * sum);
        }
}

template <typename T> void raise(const T* coarse, const T* onto, T* out, const Blocks& s) {
    using A = typename Working<T>::type;
    by_registers<A>(s.channels, [&](auto columns) {
#pragma omp parallel for num_threads(s.threads) if (s.threads > 1)
        for (int64_t i = 0; i < s.lines(); i++)
            for (int64_t r = 0; r < s.rows(); r++) {
                const T* from = coarse + i * s.line();
                const int64_t at = s.fine(i, r);
                if (onto) repeat_line<columns, true>(from, onto + at, out + at, A(s.factor), s.channels, s.width);
                else repeat_line<columns, false>(from, out, out + at, A(s.factor), s.channels, s.width);
            }
    });
}

template <typename T> void lower(const T* x, T* out, const Blocks& s) {
    using A = typename Working<T>::type;
    by_registers<A>(s.channels, [&](auto columns) {
#pragma omp parallel for num_threads(s.threads) if (s.threads > 1)
        for (int64_t i = 0; i < s.lines(); i++) {
            const T* lines[4];
            for (int64_t r = 0; r < s.rows(); r++) lines[r] = x + s.fine(i, r);
            T* to = out + i * s.line();
            if (s.deep) sum_lines<columns, 4>(lines, to, A(s.factor), s.channels, s.width);
            else sum_lines<columns, 2>(lines, to, A(s.factor), s.channels, s.width);
        }
    });
}

}  // namespace

#define ENTRIES(NAME, TYPE)                                                                                   \
    extern "C" void raise_##NAME(const void* coarse, const void* onto, void* out, const Blocks* s) {          \
        raise(static_cast<const TYPE*>(coarse), static_cast<const TYPE*>(onto), static_cast<TYPE*>(out), *s); \
    }                                                                                                         \
    extern "C" void lower_##NAME(const void* x, void* out, const Blocks* s) {                                 \
        lower(static_cast<const TYPE*>(x), static_cast<TYPE*>(out), *s);                                      \
    }

ENTRIES(bfloat16, bf16)
ENTRIES(float32, float)
ENTRIES(float64, double)
