// A convolution of 3 sites along each axis whose output is one channel, and its gradients, each in one pass:
//   out[b, s] = sum over taps t and channels c of x[b, s + t, c] kernel[t, c]
// Matrix units compute 16 outputs for one. Called by narrow.py.
//
// x is padded and channels last: (B, D, H, W, C); an axis that a lattice lacks has size 1 and one tap. Sums run in an
// order that the shape of one sample fixes: neither the batch nor the number of threads changes a bit.

#include <algorithm>
#include <type_traits>
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

// halves first: a chain of additions would take as long as the taps
template <int P, typename A> inline A added_up(const vector<P, A>& v) {
    if constexpr (P == 1) return v[0];
    else {
        vector<P / 2, A> low, high;
        std::memcpy(&low, &v, sizeof(low));
        std::memcpy(&high, reinterpret_cast<const char*>(&v) + sizeof(low), sizeof(high));
        return added_up<P / 2, A>(low + high);
    }
}

// to[i]: what the taps of R rows of x give at site i, c channels in blocks of P
template <int P, int R, typename A>
HOT void add_taps(const A* const* rows, const A* kernel, A* to, int64_t c, int64_t n) {
    const A* row[R];
    for (int r = 0; r < R; r++) row[r] = rows[r];
    for (int64_t i = 0; i < n; i++) {
        vector<P, A> one = {}, two = {}, three = {};
        for (int64_t k = 0; k < c; k += P)
#pragma GCC unroll 9
            for (int r = 0; r < R; r++) {
                const A *x = row[r] + i * c + k, *taps = kernel + TAPS * r * c + k;
                one += load_row<P>(x) * load_row<P>(taps);
                two += load_row<P>(x + c) * load_row<P>(taps + c);
                three += load_row<P>(x + 2 * c) * load_row<P>(taps + 2 * c);
            }
        to[i] = added_up<P, A>(one + two + three);
    }
}

// for P channels of a row of x: its slope from those of the outputs that it went into, and the slopes of the taps
template <int P, int R, typename T, typename A>
HOT void turn_back(const T* x, const A* const* rows, const A* kernel, T* to, A* part, int64_t c, int64_t n) {
    vector<P, A> taps[TAPS * R], slopes[TAPS * R] = {};
    const A* row[R];
#pragma GCC unroll 27
    for (int t = 0; t < TAPS * R; t++) taps[t] = load_row<P>(kernel + t * c);
    for (int r = 0; r < R; r++) row[r] = rows[r];
    for (int64_t i = 0; i < n; i++) {
        const vector<P, A> v = load_row<P>(x + i * c);
        vector<P, A> slope = {};
#pragma GCC unroll 27
        for (int t = 0; t < TAPS * R; t++) {
            const A arrives = row[t / TAPS][i + TAPS - 1 - t % TAPS];
            slope += arrives * taps[t];
            slopes[t] += arrives * v;
        }
        store_row<P>(to + i * c, slope);
    }
#pragma GCC unroll 27
    for (int t = 0; t < TAPS * R; t++) store_row<P>(part + t * c, slopes[t]);
}

// f(P, R): channels at a time; rows of x that meet in a row of the output
template <typename A, typename F> inline void by_channels(const Box& s, F f) {
    by_registers<A>(s.channels, [&](auto columns) {
        if (s.taps_depth == 1) f(columns, std::integral_constant<int, TAPS>());
        else f(columns, std::integral_constant<int, TAPS * TAPS>());
    });
}

// the rows of x that meet in row h of the output at depth d, in working precision
template <int P, typename T, typename A>
void gather_rows(const T* x, A* converted, const A** rows, int64_t d, int64_t h, const Box& s) {
    for (int64_t r = 0; r < s.rows(); r++) {
        const T* from = x + ((d + r / TAPS) * s.height + h + r % TAPS) * s.row();
        if constexpr (std::is_same_v<T, A>) rows[r] = from;
        else {  // a row stays where it is while it is needed: only the last one of each plane is new
            A* to = converted + (r / TAPS * TAPS + (h + r % TAPS) % TAPS) * s.row();
            if (h == 0 || r % TAPS == TAPS - 1)
                for (int64_t i = 0; i < s.row(); i += P) store_row<P>(to + i, load_row<P>(from + i));
            rows[r] = to;
        }
    }
}

template <typename T, typename A> void forward_sample(const T* x, const A* kernel, A* y, const Box& s) {
    std::vector<A> room(std::is_same_v<T, A> ? 0 : s.rows() * s.row() + 16);
    A* converted = reinterpret_cast<A*>((reinterpret_cast<uintptr_t>(room.data()) + 63) / 64 * 64);
    const A* rows[TAPS * TAPS];
    by_channels<A>(s, [&](auto columns, auto count) {
        for (int64_t d = 0; d < s.out_depth(); d++)
            for (int64_t h = 0; h < s.out_height(); h++) {
                gather_rows<columns>(x, converted, rows, d, h, s);
                A* to = y + (d * s.out_height() + h) * s.out_width();
                add_taps<columns, count>(rows, kernel, to, s.channels, s.out_width());
            }
    });
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
            by_channels<A>(s, [&](auto columns, auto count) {
                for (int64_t k = 0; k < c; k += columns)
                    turn_back<columns, count>(x + at + k, rows, kernel + k, x_slope + at + k, part.data() + k, c,
                                              s.width);
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
