// The gradient of the layers of message passing, a block at a time: the steps of passing_layers.h in reverse.

#pragma once

#include "passing_layers.h"

namespace {

// Slopes of what stands in a block, named after what they are the slopes of.
template <typename T> struct Back {
    Aligned<T> memory;
    T *odd, *even, *message, *hidden, *seen, *quiet, *source;  // (rows, width)
    T *products, *joint, *gates;                               // (rows, 2 width), (rows, joint), (rows, gates)
    T *field, *scale, *pull, *incoming, *bonds, *gain;         // (stride,) three times, (directions, stride)

    explicit Back(const Plan<T>& p) : memory(size(p)) {
        T* at = memory;
        const auto next = [&](int64_t n) { T* here = at; at += n; return here; };
        for (T** one : {&odd, &even, &message, &hidden, &seen, &quiet, &source}) *one = next(p.rows * p.width);
        products = next(2 * p.rows * p.width), joint = next(p.rows * p.joint), gates = next(p.rows * p.gates);
        for (T** one : {&field, &scale, &pull}) *one = next(p.stride);
        for (T** one : {&incoming, &bonds, &gain}) *one = next(p.directions * p.stride);
    }
    static int64_t size(const Plan<T>& p) {
        return p.rows * (9 * p.width + p.joint + p.gates) + (3 + 3 * p.directions) * p.stride;
    }
};

// of_weights: of a part of the batch, laid out as Weights, matrices READ, ODD_IN and EVEN_IN as (in, out); null where
// they are not wanted.
template <typename T> class Gradient {
  public:
    const Layers<T>& forward;
    const Slopes<T>& out;
    T* of_weights;
    const Plan<T>& p = forward.p;

    HOT void backward(const Block& b, const T* slope, Kept<T>* kept, Work<T>& w, Back<T>& s) const {
        const int64_t layers = p.shape.layers;
        w.load(p, forward.in, b);
        end(b, slope + b.site, kept[layers - 1].sent, kept[layers], w, s);
        for (int64_t l = layers - 1; l >= 0; l--) {
            features_out(b, l, kept[l], kept[l + 1], w, s);
            forward.read(b, l, kept, w);
            forward.quieten(b, l, kept[l].even, w);
            forward.speak(b, l, w);
            exchange(b, l, kept[l], w, s);
            gates(b, l, w, s);
            modulation(b, l, w, s);
            read(b, l, kept[l], kept[l + 1].incoming, w, s);
            believe(b, l, kept[l], w, s);
        }
        begin(b, slope + b.site, w, s);
    }

  private:
    const T* weights(Weights::Kind kind, int64_t layer = 0) const { return forward.weights(kind, layer); }

    // slope of a matrix (out, in) from those of its outputs (sites, rows of stride) and from its inputs
    void learn(Weights::Kind kind, int64_t layer, const T* slope, int64_t stride, Rows<T> x, int64_t outputs,
               int64_t columns, int64_t sites) const {
        if (of_weights)
            multiply<true>({slope, 1, stride}, x, of_weights + p.weights.at(kind, layer), outputs, sites, columns);
    }
    void learn(Weights::Kind kind, int64_t layer, const T* slope, Rows<T> x, int64_t columns, int64_t sites) const {
        learn(kind, layer, slope, p.width, x, p.width, columns, sites);
    }
    // the same for few rows of single values, one a site: (rows, sites)
    void learn_rows(Weights::Kind kind, int64_t layer, Matrix<T> rows, int64_t count, const T* x, int64_t sites) const {
        if (of_weights)
            multiply<true>(rows, {x, p.width}, of_weights + p.weights.at(kind, layer), count, sites, p.width);
    }
    void learn_bias(Weights::Kind kind, int64_t layer, const T* slope, int64_t columns, int64_t sites,
                    int64_t stride) const {
        if (of_weights) add_rows(slope, stride, of_weights + p.weights.at(kind, layer), sites, columns);
    }

    HOT void end(const Block& b, const T* slope, const T* odd, const Kept<T>& k, Work<T>& w, Back<T>& s) const {
        const int64_t f = p.width, n = b.sites;
        for (int64_t i = 0; i < n * f; i += LANES<T>) put(w.hidden + i, get(odd + i) * get(k.open + i));
        learn_rows(Weights::HEAD, 0, {slope, 0, 1}, 1, w.hidden, n);
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < f; j += LANES<T>)
                put(s.hidden + i * f + j, slope[i] * get(weights(Weights::HEAD) + j));
        open_gate_back(odd, k.open, s.hidden, s.odd, n * f);
        learn(Weights::END_GATE, 0, s.hidden, {k.even, f}, f, n);
        learn_bias(Weights::END_GATE_BIAS, 0, s.hidden, f, n, f);
        multiply<false>({s.hidden, f, 1}, {weights(Weights::END_GATE), f}, s.even, n, f, f);
        for (int64_t i = 0; i < n; i++) {
            s.field[i] = slope[i] * w.scale[i];
            s.scale[i] = slope[i] * forward.pulled(k, w, i);
            for (int64_t a = 0; a < p.directions; a++) s.incoming[a * p.stride + i] = s.field[i];
        }
        std::fill_n(s.bonds, p.directions * p.stride, T(0));
    }

    // from field, odd and even that leave the layer to message and seen
    HOT void features_out(const Block& b, int64_t l, const Kept<T>& k, const Kept<T>& next, Work<T>& w, Back<T>& s) const {
        const int64_t f = p.width, n = b.sites;
        for (int64_t i = 0; i < n; i++) {
            s.pull[i] = s.field[i] / w.scale[i];
            s.scale[i] -= s.pull[i] * (next.field[i] - k.field[i]);
            for (int64_t j = 0; j < f; j += LANES<T>)
                put(s.odd + i * f + j, get(s.odd + i * f + j) + s.pull[i] * get(weights(Weights::PULL, l) + j));
        }
        learn_rows(Weights::PULL, l, {s.pull, 0, 1}, 1, k.sent, n);
        for (int64_t i = 0; i < n * f; i += LANES<T>) put(w.hidden + i, get(k.message + i) * get(k.open + i));
        learn(Weights::ODD_OUT, l, s.odd, {w.hidden, f}, f, n);
        multiply<false>({s.odd, f, 1}, {weights(Weights::ODD_OUT, l), f}, s.hidden, n, f, f);
        open_gate_back(k.message, k.open, s.hidden, s.message, n * f);
        learn(Weights::OUT_GATE, l, s.hidden, {next.even, f}, f, n);
        learn_bias(Weights::OUT_GATE_BIAS, l, s.hidden, f, n, f);
        multiply<true>({s.hidden, f, 1}, {weights(Weights::OUT_GATE, l), f}, s.even, n, f, f);
        multiply<false>({s.even, f, 1}, {weights(Weights::EVEN_OUT, l), f}, s.seen, n, f, f);
        silu_back(k.seen, w.hidden, s.seen, n * f);
        learn(Weights::EVEN_OUT, l, s.even, {w.hidden, f}, f, n);
        learn_bias(Weights::EVEN_OUT_BIAS, l, s.even, f, n, f);
    }

    // from seen and message to quiet, source and gates of the bonds
    HOT void exchange(const Block& b, int64_t l, const Kept<T>& k, Work<T>& w, Back<T>& s) const {
        const int64_t f = p.width, n = b.sites;
        by_width(p, [&](auto width) { square(p, width, n, w.source, k.message, w.products); });
        learn(Weights::EVEN_MESSAGE, l, s.seen, {w.quiet, p.joint}, p.joint, n);
        learn(Weights::INVARIANT, l, s.seen, {w.products, 2 * f}, 2 * f, n);
        learn_bias(Weights::EVEN_MESSAGE_BIAS, l, s.seen, f, n, f);
        learn_bias(Weights::INVARIANT_BIAS, l, s.seen, f, n, f);
        multiply<false>({s.seen, f, 1}, {weights(Weights::EVEN_MESSAGE, l), p.joint}, s.joint, n, f, p.joint);
        by_width(p, [&](auto width) { move_rows_back(p, width, n, s.joint, s.quiet); });
        multiply<false>({s.seen, f, 1}, {weights(Weights::INVARIANT, l), 2 * f}, s.products, n, f, 2 * f);
        by_width(p, [&](auto width) {
            square_back(p, width, n, w.source, k.message, w.products, s.products, s.source, s.message);
        });
        learn(Weights::MESSAGE, l, s.message, {w.source, p.joint}, p.joint, n);
        multiply<false>({s.message, f, 1}, {weights(Weights::MESSAGE, l), p.joint}, s.joint, n, f, p.joint);
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < f; j += LANES<T>) {
                T* to = s.joint + i * p.joint + j;
                put(to, get(to) + get(s.source + i * f + j));
            }
        by_head(p, [&](auto lanes, auto head) {
            move_heads_back<lanes>(p, head, n, w.bonds, w.gates, w.source, s.joint, s.bonds, s.gates);
        });
    }

    // from source to odd, from gates to quiet
    void gates(const Block& b, int64_t l, Work<T>& w, Back<T>& s) const {
        const int64_t f = p.width, n = b.sites, count = f + p.bond_gates;
        by_width(p, [&](auto width) { of_source(width, n, w, s); });
        learn(Weights::GATE, l, s.gates, p.gates, {w.quiet, p.joint}, count, f, n);
        learn_bias(Weights::GATE_BIAS, l, s.gates, count, n, p.gates);
        multiply<true>({s.gates, p.gates, 1}, {weights(Weights::GATE, l), f}, s.quiet, n, count, f);
    }

    template <typename N> HOT void of_source(N f, int64_t sites, Work<T>& w, Back<T>& s) const {
        const int64_t joint = p.joint, row = p.gates;
        for (int64_t i = 0; i < sites; i++) {
            T* slope = s.joint + i * joint;
            for (int64_t j = 0; j < f; j += LANES<T>) {
                put(s.gates + i * row + j, get(slope + j) * get(w.odd_normal + i * f + j));
                put(slope + j, get(slope + j) * get(w.gates + i * row + j));
            }
            normalize_back<false>(slope, w.odd_normal + i * f, w.odd_rate[i], s.odd + i * f, f);
        }
    }

    // from quiet to even
    void modulation(const Block& b, int64_t l, Work<T>& w, Back<T>& s) const {
        by_width(p, [&](auto f) {
            for (int64_t sample = b.sample; sample < b.sample + b.samples; sample++)
                of_modulation(f, sample, (sample - b.sample) * p.sites, l, w, s);
        });
    }

    // of one sample, whose first site in the block is ``first``
    template <typename N>
    HOT void of_modulation(N f, int64_t sample, int64_t first, int64_t l, Work<T>& w, Back<T>& s) const {
        const int64_t at = (sample * p.shape.layers + l) * 2 * f;
        const T* gain = forward.in.modulation + at;
        T* of_gain = out.modulation + at;
        std::fill_n(of_gain, 2 * f, T(0));
        for (int64_t i = first; i < first + p.sites; i++) {
            const T* normal = w.even_normal + i * f;
            T* slope = s.quiet + i * f;
            for (int64_t j = 0; j < f; j += LANES<T>) {
                put(of_gain + j, get(of_gain + j) + get(slope + j) * get(normal + j));
                put(of_gain + f + j, get(of_gain + f + j) + get(slope + j));
                put(slope + j, get(slope + j) * (T(1) + get(gain + j)));
            }
            normalize_back<true>(slope, normal, w.even_rate[i], s.even + i * f, f);
        }
    }

    // from odd to beliefs and messages, and to their gain
    HOT void read(const Block& b, int64_t l, const Kept<T>& k, const T* next_incoming, Work<T>& w, Back<T>& s) const {
        const int64_t f = p.width, n = b.sites, few = padded<T>(p.directions + 1);
        multiply<false>({s.odd, f, 1}, {forward.packed.layers[l].read_back, few}, w.narrow, n, f, few);
        learn_rows(Weights::READ, l, {w.reading, p.stride, 1}, p.directions + 1, s.odd, n);
        const T* last = k.incoming + p.shape.iterations * p.directions * p.stride;
        for (int64_t i = 0; i < n; i++) {
            const T *slope = w.narrow + i * few, belief = w.cavity[i];
            const T of_logit = slope[0] * w.scale[i] * (1 - belief * belief);
            s.scale[i] += slope[0] * belief;
            s.field[i] += of_logit;
            for (int64_t a = 0; a < p.directions; a++) {
                const int64_t at = a * p.stride + i;
                s.scale[i] += slope[a + 1] * next_incoming[at];
                const T arrives = s.incoming[at] + slope[a + 1] * w.scale[i] + of_logit;
                s.gain[at] = arrives * last[at];
                s.incoming[at] = arrives * k.gain[at];
            }
        }
    }

    HOT void believe(const Block& b, int64_t l, const Kept<T>& k, Work<T>& w, Back<T>& s) const {
        const int64_t n = b.sites, messages = p.directions * p.stride;
        learn_rows(Weights::GAIN, l, {s.gain, p.stride, 1}, p.directions, k.even, n);
        if (of_weights)
            for (int64_t a = 0; a < p.directions; a++)
                for (int64_t i = 0; i < n; i++)
                    of_weights[p.weights.at(Weights::GAIN_BIAS, l) + a] += s.gain[a * p.stride + i];
        multiply<true>({s.gain, 1, p.stride}, {weights(Weights::GAIN, l), p.width}, s.even, n, p.directions, p.width);
        for (int64_t step = p.shape.iterations - 1; step >= 0; step--)
            believe_back(p, n, k.field, k.incoming + step * messages, w.bonds, w.cavity, w.sent, s.field, s.bonds,
                         s.incoming);
    }

    HOT void begin(const Block& b, const T* slope, Work<T>& w, Back<T>& s) const {
        const int64_t f = p.width, n = b.sites, all = forward.all(), inputs = p.shape.inputs;
        learn_rows(Weights::ODD_IN, 0, {forward.in.odd + b.site, all, 1}, 2, s.odd, n);
        learn_rows(Weights::EVEN_IN, 0, {forward.in.even + b.site, all, 1}, inputs, s.even, n);
        learn_bias(Weights::EVEN_IN_BIAS, 0, s.even, f, n, f);
        if (out.odd) {
            of_inputs(b, s.odd, forward.packed.odd_back, 2, out.odd, w);
            of_inputs(b, s.even, forward.packed.even_back, inputs, out.even, w);
        }
        for (int64_t g = 0; g < b.samples; g++) out.scale[b.sample + g] = 0;
        for (int64_t i = 0; i < n; i++) {
            out.field[b.site + i] = s.field[i] - slope[i] * w.scale[i];
            out.scale[b.sample + i / p.sites] += s.scale[i];
        }
        for (int64_t a = 0; a < p.directions; a++)
            std::copy_n(s.bonds + a * p.stride, n, out.bonds + a * all + b.site);
    }

    void of_inputs(const Block& b, const T* slope, const T* matrix, int64_t count, T* to, Work<T>& w) const {
        const int64_t few = padded<T>(count);
        multiply<false>({slope, p.width, 1}, {matrix, few}, w.narrow, b.sites, p.width, few);
        for (int64_t k = 0; k < count; k++)
            for (int64_t i = 0; i < b.sites; i++) to[k * forward.all() + b.site + i] = w.narrow[i * few + k];
    }
};

}  // namespace
