// One pass over memory for what stands between two convolutions of physgen's U-Net: group normalisation, modulation,
// SiLU and padding on the torus, and its gradient. Compiled and called by native.py; the equations are in fused.py.
//
// Fields are channels last: (B, D, H, W, C), axes that a lattice lacks have size 1 and pad 0. Sums run in an order that
// the shape of one sample fixes: neither the batch nor the number of threads changes a bit.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "numbers.h"
#include "sigmoid.h"

namespace {

constexpr int64_t CHUNK_SITES = 2048;  // sites that are summed in working precision, then in double
constexpr double EPSILON = 1e-5;       // of torch's group_norm

template <int P, typename T, typename A>
HOT void add_moments(const T* __restrict x, const A* __restrict origin, A* __restrict one, A* __restrict two,
                     int64_t p, int64_t n) {
    A sum[P] = {}, squares[P] = {};
    for (int64_t i = 0; i < n; i += p)
#pragma omp simd
        for (int k = 0; k < P; k++) {
            const A v = load(x[i + k]) - origin[k];
            sum[k] += v;
            squares[k] += v * v;
        }
    for (int k = 0; k < P; k++) { one[k] += sum[k]; two[k] += squares[k]; }
}

template <int P, typename T, typename A>
HOT void activate(const T* __restrict x, const A* __restrict centre, const A* __restrict scale,
                  const A* __restrict shift, T* __restrict y, int64_t p, int64_t n) {
    for (int64_t i = 0; i < n; i += p)
#pragma omp simd
        for (int k = 0; k < P; k++) {
            const A h = (load(x[i + k]) - centre[k]) * scale[k] + shift[k];
            store_known(y + i + k, h * sigmoid<T>(h));
        }
}

template <typename A> struct Constants { const A *centre, *inverse, *scale, *shift; };

// slope of the modulated field from that of its SiLU, and its sums with 1 and with the normalised field
template <int P, typename T, typename A>
HOT void slopes(const A* __restrict arrives, const T* __restrict x, const Constants<A>& constants, A* __restrict plain,
                A* __restrict weighted, T* __restrict out, int64_t p, int64_t n) {
    const A *__restrict centre = constants.centre, *__restrict inverse = constants.inverse;
    const A *__restrict scale = constants.scale, *__restrict shift = constants.shift;
    A sum[P] = {}, products[P] = {};
    for (int64_t i = 0; i < n; i += p)
#pragma omp simd
        for (int k = 0; k < P; k++) {
            const A normal = (load(x[i + k]) - centre[k]) * inverse[k];
            const A h = normal * scale[k] + shift[k];
            const A gate = sigmoid<T>(h);
            const A slope = arrives[i + k] * gate * (A(1) + h * (A(1) - gate));
            sum[k] += slope;
            products[k] += slope * normal;
            store_known(out + i + k, slope);
        }
    for (int k = 0; k < P; k++) { plain[k] += sum[k]; weighted[k] += products[k]; }
}

// the slope at x, linear in that at the modulated field and in x; KEPT: plus the one of another user of x
template <int P, bool KEPT, typename T, typename A>
HOT void combine(const T* __restrict x, const T* __restrict kept, const A* __restrict factor,
                 const A* __restrict tilt, const A* __restrict offset, T* __restrict out, int64_t p, int64_t n) {
    for (int64_t i = 0; i < n; i += p)
#pragma omp simd
        for (int k = 0; k < P; k++) {
            A slope = load(out[i + k]) * factor[k] + load(x[i + k]) * tilt[k] + offset[k];
            if (KEPT) slope += load(kept[i + k]);
            store_known(out + i + k, slope);
        }
}

template <typename T, typename A> HOT void copy(A* __restrict to, const T* __restrict x, int64_t n) {
#pragma omp simd
    for (int64_t k = 0; k < n; k++) to[k] = load(x[k]);
}

template <typename T, typename A> HOT void add(A* __restrict sum, const T* __restrict x, int64_t n) {
#pragma omp simd
    for (int64_t k = 0; k < n; k++) sum[k] += load(x[k]);
}

struct Shape {
    int64_t batch, depth, height, width, channels;
    int64_t pad_depth, pad_height, pad_width;
    int64_t periodic, gain_row, bias_row, single, threads;  // see Row

    int64_t lines() const { return depth * height; }
    int64_t line() const { return width * channels; }
    int64_t sites() const { return lines() * width; }
    int64_t padded_line() const { return (width + 2 * pad_width) * channels; }
    int64_t padded() const { return (depth + 2 * pad_depth) * (height + 2 * pad_height) * padded_line(); }
    int64_t lines_of_chunk() const { return width >= CHUNK_SITES ? 1 : CHUNK_SITES / width; }
    int64_t chunks() const { return (lines() + lines_of_chunk() - 1) / lines_of_chunk(); }
    bool by_sample() const { return batch >= threads; }  // else the lines of a sample are shared out
    int64_t place(int64_t d, int64_t h) const {  // of a line of the padded field
        return (d * (height + 2 * pad_height) + h) * padded_line();
    }
    int64_t inner(int64_t line) const {  // of a line of the field in the padded one
        return place(line / height + pad_depth, line % height + pad_height) + pad_width * channels;
    }
};

// gains or biases of the channels of one sample, float or double, or none: then all are zero
struct Row {
    const void* values;
    int64_t first, single;

    double operator[](int64_t k) const {
        if (!values) return 0;
        if (single) return static_cast<const float*>(values)[first + k];
        return static_cast<const double*>(values)[first + k];
    }
};

// f(first line, last line, chunk) for all chunks of a sample
template <typename F> void over_chunks(const Shape& s, F f) {
    const int64_t n = s.chunks(), step = s.lines_of_chunk();
#pragma omp parallel for num_threads(s.threads) if (!s.by_sample() && n > 1)
    for (int64_t chunk = 0; chunk < n; chunk++) {
        const int64_t last = (chunk + 1) * step;
        f(chunk * step, last < s.lines() ? last : s.lines(), chunk);
    }
}

// copies of the channels' constants so that rows of them are blocks of by_columns, where lines consist of such rows
int64_t period(const Shape& s) {
    int64_t p = s.channels;
    while (p % COLUMNS && s.line() % (2 * p) == 0) p *= 2;
    return p;
}

template <typename T> void moments(const T* x, const Shape& s, double* mean, double* rstd) {
    using A = typename Working<T>::type;
    const int64_t p = period(s), c = s.channels;
    std::vector<double> sums(s.chunks() * 2 * c);
    std::vector<A> origin(p);
    for (int64_t i = 0; i < p; i++) origin[i] = load(x[i % c]);
    over_chunks(s, [&](int64_t first, int64_t last, int64_t chunk) {
        std::vector<A> one(p), two(p);
        const int64_t at = first * s.line(), count = (last - first) * s.line();
        by_columns(p, [&](auto columns, int64_t k) {
            add_moments<columns>(x + at + k, origin.data() + k, one.data() + k, two.data() + k, p, count);
        });
        double* to = sums.data() + chunk * 2 * c;
        for (int64_t k = 0; k < p; k++) { to[k % c] += one[k]; to[c + k % c] += two[k]; }
    });
    const double n = double(s.sites());
    for (int64_t g = 0; g < c / GROUP; g++) {
        double one[GROUP] = {}, two[GROUP] = {}, centre = 0, spread = 0;
        for (int64_t k = 0; k < GROUP; k++) {
            for (int64_t chunk = 0; chunk < s.chunks(); chunk++) {
                one[k] += sums[chunk * 2 * c + g * GROUP + k];
                two[k] += sums[chunk * 2 * c + c + g * GROUP + k];
            }
            centre += (double(origin[g * GROUP + k]) + one[k] / n) / GROUP;
        }
        for (int64_t k = 0; k < GROUP; k++) {
            const double off = double(origin[g * GROUP + k]) - centre;
            spread += (two[k] / n + 2 * off * one[k] / n + off * off) / GROUP;
        }
        mean[g] = centre;
        rstd[g] = 1 / std::sqrt((spread > 0 || spread != spread ? spread : 0) + EPSILON);
    }
}

template <typename T> void copy_line(T* to, const T* from, int64_t n) { std::memcpy(to, from, n * sizeof(T)); }

// the halo of one padded sample whose inner lines stand
template <typename T> void fill_halo(T* y, const Shape& s) {
    const int64_t c = s.channels, rim = s.pad_width * c;
    for (int64_t d = s.pad_depth; d < s.depth + s.pad_depth; d++)
        for (int64_t h = s.pad_height; h < s.height + s.pad_height; h++) {
            T* line = y + s.place(d, h);
            if (s.periodic) {
                copy_line(line, line + s.line(), rim);
                copy_line(line + rim + s.line(), line + rim, rim);
            } else {
                std::memset(line, 0, rim * sizeof(T));
                std::memset(line + rim + s.line(), 0, rim * sizeof(T));
            }
        }
    for (int64_t d = 0; d < s.depth + 2 * s.pad_depth; d++)
        for (int64_t h = 0; h < s.height + 2 * s.pad_height; h++) {
            const bool inside = d >= s.pad_depth && d < s.depth + s.pad_depth && h >= s.pad_height
                                && h < s.height + s.pad_height;
            if (inside) continue;
            const int64_t from_d = (d - s.pad_depth + s.depth) % s.depth + s.pad_depth;
            const int64_t from_h = (h - s.pad_height + s.height) % s.height + s.pad_height;
            if (s.periodic) copy_line(y + s.place(d, h), y + s.place(from_d, from_h), s.padded_line());
            else std::memset(y + s.place(d, h), 0, s.padded_line() * sizeof(T));
        }
}

template <typename T>
void forward_sample(const T* x, T* y, const Row& gain, const Row& bias, double* mean, double* rstd, const Shape& s) {
    using A = typename Working<T>::type;
    moments(x, s, mean, rstd);
    const int64_t p = period(s), c = s.channels;
    std::vector<A> centres(p), scales(p), shifts(p);
    for (int64_t i = 0; i < p; i++) {
        centres[i] = constant<A>(mean[i % c / GROUP]);
        scales[i] = constant<A>(rstd[i % c / GROUP] * (1 + gain[i % c]));
        shifts[i] = constant<A>(bias[i % c]);
    }
    over_chunks(s, [&](int64_t first, int64_t last, int64_t) {
        for (int64_t line = first; line < last; line++) {
            const T* from = x + line * s.line();
            T* to = y + s.inner(line);
            by_columns(p, [&](auto columns, int64_t k) {
                activate<columns>(from + k, &centres[k], &scales[k], &shifts[k], to + k, p, s.line());
            });
        }
    });
    fill_halo(y, s);
}

// the gradient of one inner line: what arrives at its places in the padded field, added up
template <typename T, typename A> void fold_line(const T* gradient, int64_t line, const Shape& s, A* sum) {
    const int64_t c = s.channels, n = s.line(), rim = s.pad_width * c;
    const int64_t d = line / s.height + s.pad_depth, h = line % s.height + s.pad_height;
    copy(sum, gradient + s.place(d, h) + rim, n);
    for (int64_t dd = d % s.depth; dd < s.depth + 2 * s.pad_depth; dd += s.depth)
        for (int64_t hh = h % s.height; hh < s.height + 2 * s.pad_height; hh += s.height) {
            if (!s.periodic) continue;
            const T* from = gradient + s.place(dd, hh);
            if (dd != d || hh != h) add(sum, from + rim, n);
            add(sum + n - rim, from, rim);
            add(sum, from + rim + n, rim);
        }
}

template <typename T>
void backward_sample(const T* gradient, const T* kept, const T* x, T* out, const Row& gain, const Row& bias,
                     const double* mean, const double* rstd, double* gain_slope, double* bias_slope, const Shape& s) {
    using A = typename Working<T>::type;
    const int64_t p = period(s), c = s.channels;
    std::vector<A> centres(p), inverses(p), gains(p), biases(p);
    for (int64_t i = 0; i < p; i++) {
        centres[i] = constant<A>(mean[i % c / GROUP]);
        inverses[i] = constant<A>(rstd[i % c / GROUP]);
        gains[i] = constant<A>(1 + gain[i % c]);
        biases[i] = constant<A>(bias[i % c]);
    }
    std::vector<double> sums(s.chunks() * 2 * c);
    over_chunks(s, [&](int64_t first, int64_t last, int64_t chunk) {  // slope at the modulated field, and its sums
        std::vector<A> one(p), two(p), folded(s.line());
        for (int64_t line = first; line < last; line++) {
            fold_line(gradient, line, s, folded.data());
            const int64_t at = line * s.line();
            by_columns(p, [&](auto columns, int64_t k) {
                const Constants<A> constants{&centres[k], &inverses[k], &gains[k], &biases[k]};
                slopes<columns>(&folded[k], x + at + k, constants, &one[k], &two[k], out + at + k, p, s.line());
            });
        }
        double* to = sums.data() + chunk * 2 * c;
        for (int64_t k = 0; k < p; k++) { to[k % c] += one[k]; to[c + k % c] += two[k]; }
    });
    for (int64_t k = 0; k < c; k++) {
        bias_slope[k] = gain_slope[k] = 0;
        for (int64_t chunk = 0; chunk < s.chunks(); chunk++) {
            bias_slope[k] += sums[chunk * 2 * c + k];
            gain_slope[k] += sums[chunk * 2 * c + c + k];
        }
    }
    // out = (scale slope - mean of that - normal * mean of (that times normal)) / standard deviation, group by group:
    // linear in the slope and in x
    std::vector<A> factors(p), tilts(p), offsets(p);
    const double n = double(s.sites() * GROUP);
    for (int64_t i = 0; i < p; i++) {
        const int64_t k = i % c, g = k / GROUP;
        double plain = 0, weighted = 0;
        for (int64_t j = g * GROUP; j < (g + 1) * GROUP; j++) {
            plain += (1 + gain[j]) * bias_slope[j] / n;
            weighted += (1 + gain[j]) * gain_slope[j] / n;
        }
        factors[i] = constant<A>(rstd[g] * (1 + gain[k]));
        tilts[i] = constant<A>(-rstd[g] * rstd[g] * weighted);
        offsets[i] = constant<A>(-rstd[g] * plain + rstd[g] * rstd[g] * weighted * mean[g]);
    }
    over_chunks(s, [&](int64_t first, int64_t last, int64_t) {
        const int64_t at = first * s.line(), count = (last - first) * s.line();
        by_columns(p, [&](auto columns, int64_t k) {
            const A *factor = &factors[k], *tilt = &tilts[k], *offset = &offsets[k];
            if (kept) combine<columns, true>(x + at + k, kept + at + k, factor, tilt, offset, out + at + k, p, count);
            else combine<columns, false>(x + at + k, x, factor, tilt, offset, out + at + k, p, count);
        });
    });
}

// moments: means, then inverse standard deviations (B, groups), which the backward reads; or none
template <typename T>
void forward(const void* x, void* y, const void* gain, const void* bias, double* moments, const Shape& s) {
    const int64_t c = s.channels, g = c / GROUP;
#pragma omp parallel for num_threads(s.threads) if (s.by_sample())
    for (int64_t b = 0; b < s.batch; b++) {
        std::vector<double> own(moments ? 0 : 2 * g);
        double *mean = moments ? moments + b * g : own.data(), *rstd = moments ? mean + s.batch * g : own.data() + g;
        forward_sample(static_cast<const T*>(x) + b * s.sites() * c, static_cast<T*>(y) + b * s.padded(),
                       Row{gain, b * s.gain_row, s.single}, Row{bias, b * s.bias_row, s.single}, mean, rstd,
                       s);
    }
}

// slopes: of the gains, then of the biases (B, C)
template <typename T>
void backward(const void* gradient, const void* kept, const void* x, void* out, const void* gain, const void* bias,
              const double* moments, double* slopes, const Shape& s) {
    const int64_t c = s.channels, g = c / GROUP, size = s.sites() * c;
#pragma omp parallel for num_threads(s.threads) if (s.by_sample())
    for (int64_t b = 0; b < s.batch; b++)
        backward_sample(static_cast<const T*>(gradient) + b * s.padded(),
                        kept ? static_cast<const T*>(kept) + b * size : nullptr, static_cast<const T*>(x) + b * size,
                        static_cast<T*>(out) + b * size, Row{gain, b * s.gain_row, s.single},
                        Row{bias, b * s.bias_row, s.single}, moments + b * g, moments + (s.batch + b) * g,
                        slopes + b * c, slopes + (s.batch + b) * c, s);
}

// a field of any channels with its padding, nothing else
template <typename T> void surround(const void* x, void* y, const Shape& s) {
#pragma omp parallel for num_threads(s.threads) if (s.by_sample())
    for (int64_t b = 0; b < s.batch; b++) {
        const T* from = static_cast<const T*>(x) + b * s.lines() * s.line();
        T* to = static_cast<T*>(y) + b * s.padded();
        for (int64_t i = 0; i < s.lines(); i++) copy_line(to + s.inner(i), from + i * s.line(), s.line());
        fill_halo(to, s);
    }
}

}  // namespace

#define ENTRIES(NAME, TYPE)                                                                                          \
    extern "C" void forward_##NAME(const void* x, void* y, const void* gain, const void* bias, double* moments,      \
                                   const Shape* s) {                                                                 \
        forward<TYPE>(x, y, gain, bias, moments, *s);                                                                \
    }                                                                                                                \
    extern "C" void backward_##NAME(const void* gradient, const void* kept, const void* x, void* out,                \
                                    const void* gain, const void* bias, const double* moments, double* slopes,       \
                                    const Shape* s) {                                                                \
        backward<TYPE>(gradient, kept, x, out, gain, bias, moments, slopes, *s);                                     \
    }                                                                                                                \
    extern "C" void surround_##NAME(const void* x, void* y, const Shape* s) { surround<TYPE>(x, y, *s); }

ENTRIES(bfloat16, bf16)
ENTRIES(float32, float)
ENTRIES(float64, double)
