// A convolution of 3 sites along each axis whose output is one channel, and its gradients, each in one pass:
//   out[b, s] = sum over taps t and channels c of x[b, s + t, c] kernel[t, c]
// Matrix units compute 16 outputs for one. Called by narrow.py.
//
// x is padded and channels last: (B, D, H, W, C); an axis that a lattice lacks has size 1 and one tap. Sums run in an
// order that the shape of one sample fixes: neither the batch nor the number of threads changes a bit.

#include <algorithm>
#include <utility>
#include <vector>

#include "numbers.h"

namespace {

constexpr int64_t TAPS = 3;

struct Box {
    int64_t batch, depth, height, width, channels;  // of the padded field
    int64_t taps_depth, threads;                    // 1 or 3

    int64_t row() const { return width * channels; }
    int64_t sites() const { return depth * height * width; }
    int64_t rows() const { return taps_depth * TAPS; }  // of x that meet in a row of the output
    int64_t out_depth() const { return depth - taps_depth + 1; }
    int64_t out_height() const { return height - TAPS + 1; }
    int64_t out_width() const { return width - TAPS + 1; }
    // the slope of the output with zeros around it, so that a row of x meets whole rows
    int64_t slope_height() const { return height + TAPS - 1; }
    int64_t slope_width() const { return width + TAPS - 1; }
    int64_t slope_sites() const { return (depth + taps_depth - 1) * slope_height() * slope_width(); }
};

// sum[i, k] += what the taps of all rows give at site i, for P channels
template <int P, typename T, typename A, size_t... R>
HOT void add_taps(const T* const* rows, const A* __restrict kernel, A* __restrict sum, int64_t c, int64_t n,
                  std::index_sequence<R...>) {
    for (int64_t i = 0; i < n; i++)
#pragma omp simd
        for (int k = 0; k < P; k++)
            sum[i * P + k] += ((load(rows[R][i * c + k]) * kernel[3 * R * c + k]
                                + load(rows[R][(i + 1) * c + k]) * kernel[(3 * R + 1) * c + k]
                                + load(rows[R][(i + 2) * c + k]) * kernel[(3 * R + 2) * c + k]) + ...);
}

// slope of a row of x, for P channels: slopes of the outputs that it went into times the taps
template <int P, typename T, typename A, size_t... R>
HOT void spread(const A* const* rows, const A* __restrict kernel, T* __restrict to, int64_t c, int64_t n,
                std::index_sequence<R...>) {
    for (int64_t i = 0; i < n; i++)
#pragma omp simd
        for (int k = 0; k < P; k++)
            store(to + i * c + k, ((rows[R][i + 2] * kernel[3 * R * c + k]
                                    + rows[R][i + 1] * kernel[(3 * R + 1) * c + k]
                                    + rows[R][i] * kernel[(3 * R + 2) * c + k]) + ...));
}

// slope of three taps from a row of x and one of the output's slope, for P channels
template <int P, typename T, typename A>
HOT void correlate(const T* __restrict x, const A* __restrict slope, A* __restrict kernel, int64_t c, int64_t n) {
    A one[P] = {}, two[P] = {}, three[P] = {};
    for (int64_t i = 0; i < n; i++)
#pragma omp simd
        for (int k = 0; k < P; k++) {
            const A v = load(x[i * c + k]);
            one[k] += v * slope[i + 2];
            two[k] += v * slope[i + 1];
            three[k] += v * slope[i];
        }
    for (int k = 0; k < P; k++) { kernel[k] += one[k]; kernel[c + k] += two[k]; kernel[2 * c + k] += three[k]; }
}

// f(P, first channel, the rows' numbers)
template <typename F> inline void by_channels(const Box& s, F f) {
    const auto go = [&](auto rows) {
        if (s.channels % 16 == 0)
            for (int64_t k = 0; k < s.channels; k += 16) f(std::integral_constant<int, 16>(), k, rows);
        else
            for (int64_t k = 0; k < s.channels; k += GROUP) f(std::integral_constant<int, GROUP>(), k, rows);
    };
    if (s.taps_depth == 1) go(std::make_index_sequence<TAPS>());
    else go(std::make_index_sequence<TAPS * TAPS>());
}

// to[i] = sum of P values, halves first: a chain of P additions would take as long as the taps
template <int P, typename A> HOT void add_up(A* __restrict sum, A* __restrict to, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        A total = 0;
#pragma omp simd reduction(+ : total)
        for (int k = 0; k < P; k++) total += sum[i * P + k];
        to[i] = total;
    }
}

template <typename T, typename A> void forward_sample(const T* x, const A* kernel, A* y, const Box& s) {
    const int64_t n = s.out_width();
    std::vector<A> sums(16 * n);
    const T* rows[TAPS * TAPS];
    for (int64_t d = 0; d < s.out_depth(); d++)
        for (int64_t h = 0; h < s.out_height(); h++) {
            std::fill(sums.begin(), sums.end(), A(0));
            by_channels(s, [&](auto columns, int64_t k, auto numbers) {
                for (int64_t r = 0; r < s.rows(); r++)
                    rows[r] = x + ((d + r / TAPS) * s.height + h + r % TAPS) * s.row() + k;
                add_taps<columns>(rows, kernel + k, sums.data(), s.channels, n, numbers);
            });
            A* to = y + (d * s.out_height() + h) * n;
            if (s.channels % 16 == 0) add_up<16>(sums.data(), to, n);
            else add_up<GROUP>(sums.data(), to, n);
        }
}

template <typename T, typename A>
void backward_sample(const A* slope, const T* x, const A* kernel, T* x_slope, double* kernel_slope, double* bias_slope,
                     const Box& s) {
    const int64_t c = s.channels, taps = s.rows() * TAPS;
    *bias_slope = 0;
    for (int64_t i = 0; i < s.slope_sites(); i++) *bias_slope += slope[i];
    std::fill(kernel_slope, kernel_slope + taps * c, 0.0);
    std::vector<A> part(taps * c);
    const A* rows[TAPS * TAPS];
    for (int64_t d = 0; d < s.depth; d++)
        for (int64_t h = 0; h < s.height; h++) {
            const int64_t at = (d * s.height + h) * s.row();
            for (int64_t r = 0; r < s.rows(); r++)
                rows[r] = slope + ((d - r / TAPS + s.taps_depth - 1) * s.slope_height() + h - r % TAPS + TAPS - 1)
                                      * s.slope_width();
            std::fill(part.begin(), part.end(), A(0));
            by_channels(s, [&](auto columns, int64_t k, auto numbers) {
                spread<columns>(rows, kernel + k, x_slope + at + k, c, s.width, numbers);
                for (int64_t r = 0; r < s.rows(); r++)
                    correlate<columns>(x + at + k, rows[r], part.data() + TAPS * r * c + k, c, s.width);
            });
            for (int64_t i = 0; i < taps * c; i++) kernel_slope[i] += part[i];
        }
}

template <typename T> void forward(const void* x, const void* kernel, void* y, const Box& s) {
    using A = typename Working<T>::type;
#pragma omp parallel for num_threads(s.threads) if (s.threads > 1)
    for (int64_t b = 0; b < s.batch; b++)
        forward_sample(static_cast<const T*>(x) + b * s.sites() * s.channels, static_cast<const A*>(kernel),
                       static_cast<A*>(y) + b * s.out_depth() * s.out_height() * s.out_width(), s);
}

template <typename T>
void backward(const void* slope, const void* x, const void* kernel, void* x_slope, double* kernel_slope,
              double* bias_slope, const Box& s) {
    using A = typename Working<T>::type;
    const int64_t size = s.sites() * s.channels, taps = s.rows() * TAPS * s.channels;
#pragma omp parallel for num_threads(s.threads) if (s.threads > 1)
    for (int64_t b = 0; b < s.batch; b++)
        backward_sample(static_cast<const A*>(slope) + b * s.slope_sites(), static_cast<const T*>(x) + b * size,
                        static_cast<const A*>(kernel), static_cast<T*>(x_slope) + b * size, kernel_slope + b * taps,
                        bias_slope + b, s);
}

}  // namespace

#define ENTRIES(NAME, TYPE)                                                                                         \
    extern "C" void narrow_forward_##NAME(const void* x, const void* kernel, void* y, const Box* s) {               \
        forward<TYPE>(x, kernel, y, *s);                                                                            \
    }                                                                                                               \
    extern "C" void narrow_backward_##NAME(const void* slope, const void* x, const void* kernel, void* x_slope,     \
                                           double* kernel_slope, double* bias_slope, const Box* s) {                \
        backward<TYPE>(slope, x, kernel, x_slope, kernel_slope, bias_slope, *s);                                    \
    }

ENTRIES(bfloat16, bf16)
ENTRIES(float32, float)
ENTRIES(float64, double)
