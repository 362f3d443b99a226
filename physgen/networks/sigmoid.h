// The logistic function without a division, to the rounding of the type that the result is stored in.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "numbers.h"

namespace {

inline uint32_t bits_of(float x) { uint32_t u; std::memcpy(&u, &x, 4); return u; }
inline float of_bits(uint32_t u) { float x; std::memcpy(&x, &u, 4); return x; }

// |x| <= 80, as integers: branches of a comparison of floats would be split, into results that are subnormal
inline float clamped(float x) {
    const uint32_t u = bits_of(x), limit = 0x42a00000u;
    return of_bits(std::min(u & 0x7fffffffu, limit) | (u & 0x80000000u));
}

inline float exponential(float x) { return exponential_within<uint32_t>(clamped(x)); }

// exp(-x) = 2^n 2^r, |r| <= 1/2, to 5e-5 of it
inline float rough_decay(float x) {
    x = clamped(x);
    const float shifted = x * -1.44269504f + 12582912.0f;
    const float r = x * -1.44269504f - (shifted - 12582912.0f);
    float p = 9.61812911e-3f;  // ln(2)^k / k!
    p = p * r + 5.55041087e-2f;
    p = p * r + 2.40226507e-1f;
    p = p * r + 6.93147181e-1f;
    p = p * r + 1.0f;
    return of_bits(bits_of(p) + (bits_of(shifted) << 23));
}

// 1/d for 1 <= d < 1e37 by Newton's steps from an error of 5 %, which each of them squares; a vector unit divides more
// slowly than it takes three
template <int STEPS> inline float reciprocal(float d) {
    float r = of_bits(0x7ef311c7u - bits_of(d));
    for (int i = 0; i < STEPS; i++) r *= 2.0f - d * r;
    return r;
}

// 1/(1 + exp(-h)) in the precision of fields of type T
template <typename T> inline float sigmoid(float h) { return reciprocal<3>(1.0f + exponential(-h)); }
template <> inline float sigmoid<bf16>(float h) { return reciprocal<2>(1.0f + rough_decay(h)); }
template <typename T> inline double sigmoid(double h) { return 1 / (1 + std::exp(-h)); }

}  // namespace
