// The way forward through the layers of message passing, a block at a time, on scratch memory of one thread.

#pragma once

#include "passing_steps.h"

namespace {

// Matrices as the way forward multiplies with them: (in, out), rows without gaps. What has few outputs has a gap.
template <typename T> struct Packed {
    struct Layer { T *gain, *read, *gate, *message, *even_message, *invariant, *even_out, *out_gate, *odd_out, *read_back; };
    Aligned<T> memory;
    std::vector<Layer> layers;
    std::vector<T> gate_bias;  // 1 + bias, with a gap: (layers, gates)
    T *odd_in, *even_in, *gate, *odd_back, *even_back;

    Packed(const Plan<T>& p, const T* weights)
        : memory(p.shape.layers * layer_size(p) + end_size(p)), gate_bias(p.shape.layers * p.gates) {
        const int64_t f = p.width, d = p.directions, narrow = padded<T>(d + 1);
        T* at = memory;
        const auto turn = [&](const T* from, int64_t out, int64_t in, int64_t columns) {
            T* here = at;
            for (int64_t i = 0; i < out; i++)
                for (int64_t k = 0; k < in; k++) here[k * columns + i] = from[i * in + k];
            at += in * columns;
            return here;
        };
        const auto widen = [&](const T* from, int64_t columns, int64_t gap) {  // the matrix as it is, with a gap
            T* here = at;
            for (int64_t i = 0; i < f; i++)
                for (int64_t k = 0; k < columns; k++) here[i * gap + k] = from[i * columns + k];
            at += f * gap;
            return here;
        };
        for (int64_t l = 0; l < p.shape.layers; l++) {
            const auto w = [&](Weights::Kind kind) { return weights + p.weights.at(kind, l); };
            layers.push_back({turn(w(Weights::GAIN), d, f, narrow), turn(w(Weights::READ), f, d + 1, f),
                              turn(w(Weights::GATE), f + p.bond_gates, f, p.gates),
                              turn(w(Weights::MESSAGE), f, p.joint, f), turn(w(Weights::EVEN_MESSAGE), f, p.joint, f),
                              turn(w(Weights::INVARIANT), f, 2 * f, f), turn(w(Weights::EVEN_OUT), f, f, f),
                              turn(w(Weights::OUT_GATE), f, f, f), turn(w(Weights::ODD_OUT), f, f, f),
                              widen(w(Weights::READ), d + 1, narrow)});
            for (int64_t k = 0; k < f + p.bond_gates; k++)
                gate_bias[l * p.gates + k] = 1 + w(Weights::GATE_BIAS)[k];
        }
        odd_in = turn(weights + p.weights.at(Weights::ODD_IN), f, 2, f);
        even_in = turn(weights + p.weights.at(Weights::EVEN_IN), f, p.shape.inputs, f);
        gate = turn(weights + p.weights.at(Weights::END_GATE), f, f, f);
        odd_back = widen(weights + p.weights.at(Weights::ODD_IN), 2, padded<T>(2));
        even_back = widen(weights + p.weights.at(Weights::EVEN_IN), p.shape.inputs, padded<T>(p.shape.inputs));
    }
    static int64_t layer_size(const Plan<T>& p) {
        return p.width * (2 * padded<T>(p.directions + 1) + p.directions + 1 + p.gates + 2 * p.joint + 5 * p.width);
    }
    static int64_t end_size(const Plan<T>& p) {
        return p.width * (2 + p.shape.inputs + p.width + padded<T>(2) + padded<T>(p.shape.inputs));
    }
};

// Scratch of one thread.
template <typename T> struct Work {
    Aligned<T> memory;
    T *quiet, *source, *products, *hidden;     // (rows, joint) twice, (rows, 2 width), (rows, width)
    T *odd, *gates, *even_normal, *odd_normal, *even_rate, *odd_rate;  // odd: after the beliefs were read
    T *cavity, *sent, *bonds, *reading, *narrow;  // (directions, stride) ..., (directions + 1, stride), (rows, few)
    T *scale, *free;

    explicit Work(const Plan<T>& p) : memory(size(p)) {
        T* at = memory;
        const auto next = [&](int64_t n) { T* here = at; at += n; return here; };
        const int64_t fields = p.rows * p.width, messages = p.directions * p.stride;
        quiet = next(p.rows * p.joint), source = next(p.rows * p.joint), products = next(2 * fields);
        hidden = next(fields), odd = next(fields), even_normal = next(fields), odd_normal = next(fields);
        gates = next(p.rows * p.gates);
        even_rate = next(p.stride), odd_rate = next(p.stride), scale = next(p.stride), free = next(p.stride);
        cavity = next(messages), sent = next(messages), bonds = next(messages), reading = next(messages + p.stride);
        narrow = next(p.rows * p.few());
    }
    static int64_t size(const Plan<T>& p) {
        return p.rows * (2 * p.joint + 6 * p.width + p.gates + p.few()) + (4 * p.directions + 5) * p.stride;
    }

    void load(const Plan<T>& p, const Inputs<T>& in, const Block& b) {
        for (int64_t i = 0; i < b.sites; i++) {
            scale[i] = in.scale[b.sample + i / p.sites];
            free[i] = in.field[b.site + i];
        }
        for (int64_t a = 0; a < p.directions; a++)
            std::copy_n(in.bonds + a * p.shape.batch * p.sites + b.site, b.sites, bonds + a * p.stride);
    }
};

template <typename T> class Layers {
  public:
    const Plan<T>& p;
    const Packed<T>& packed;
    const Inputs<T>& in;

    const T* weights(Weights::Kind kind, int64_t layer = 0) const { return in.weights + p.weights.at(kind, layer); }
    int64_t all() const { return p.shape.batch * p.sites; }  // sites of the batch

    HOT void forward(const Block& b, Kept<T>* kept, Work<T>& w, T* out) const {
        const int64_t f = p.width, n = b.sites, layers = p.shape.layers;
        w.load(p, in, b);
        fill_rows(kept[0].even, weights(Weights::EVEN_IN_BIAS), static_cast<const T*>(nullptr), n, f);
        multiply<true>({in.even + b.site, 1, all()}, {packed.even_in, f}, kept[0].even, n, p.shape.inputs, f);
        std::copy_n(w.free, p.stride, kept[0].field);
        std::fill_n(kept[0].incoming, p.directions * p.stride, T(0));
        for (int64_t l = 0; l < layers; l++) {
            settle(b, l, kept[l], kept[l + 1].incoming, w);
            read(b, l, kept, w);
            exchange(b, l, kept[l], kept[l + 1], w);
        }
        end(b, kept[layers - 1].sent, kept[layers], w, out);
    }

    // messages after some iterations, times their gain
    HOT void settle(const Block& b, int64_t layer, const Kept<T>& k, T* next_incoming, Work<T>& w) const {
        const int64_t f = p.width, n = b.sites, messages = p.directions * p.stride, few = padded<T>(p.directions + 1);
        multiply<false>({k.even, f, 1}, {packed.layers[layer].gain, few}, w.narrow, n, f, few);
        for (int64_t a = 0; a < p.directions; a++)
            for (int64_t i = 0; i < n; i++)
                k.gain[a * p.stride + i] = 1 + weights(Weights::GAIN_BIAS, layer)[a] + w.narrow[i * few + a];
        for (int64_t step = 0; step < p.shape.iterations; step++)
            believe(p, n, k.field, k.incoming + step * messages, w.bonds, w.cavity, w.sent,
                    k.incoming + (step + 1) * messages);
        const T* last = k.incoming + p.shape.iterations * messages;
        for (int64_t i = 0; i < messages; i += LANES<T>) put(next_incoming + i, get(last + i) * get(k.gain + i));
    }

    // odd features with what they read of beliefs and messages
    HOT void read(const Block& b, int64_t layer, const Kept<T>* kept, Work<T>& w) const {
        const int64_t f = p.width, n = b.sites;
        if (layer) std::copy_n(kept[layer - 1].sent, n * f, w.odd);
        else multiply<false>({in.odd + b.site, 1, all()}, {packed.odd_in, f}, w.odd, n, 2, f);
        find_reading(kept[layer].field, kept[layer + 1].incoming, w);
        multiply<true>({w.reading, 1, p.stride}, {packed.layers[layer].read, f}, w.odd, n, p.directions + 1, f);
    }

    // belief and messages times the scale; the belief itself stays in cavity
    HOT void find_reading(const T* field, const T* incoming, Work<T>& w) const {
        for (int64_t i = 0; i < p.stride; i += LANES<T>) {
            Lanes<T> sum{};
            for (int64_t a = 0; a < p.directions; a++) {
                sum += get(incoming + a * p.stride + i);
                put(w.reading + (a + 1) * p.stride + i, get(incoming + a * p.stride + i) * get(w.scale + i));
            }
            const Lanes<T> belief = hyperbolic_tangent(get(field + i) + sum);
            put(w.cavity + i, belief);
            put(w.reading + i, belief * get(w.scale + i));
        }
    }

    // even features normalised and modulated, with those of the neighbours
    void quieten(const Block& b, int64_t layer, const T* even, Work<T>& w) const {
        by_width(p, [&](auto f) {
            modulate(b, f, layer, even, w);
            move_rows(p, f, b.sites, w.quiet);
        });
    }

    template <typename N> HOT void modulate(const Block& b, N f, int64_t layer, const T* even, Work<T>& w) const {
        const int64_t joint = p.joint;
        for (int64_t i = 0; i < b.sites; i++) {
            const T* gain = in.modulation + ((b.sample + i / p.sites) * p.shape.layers + layer) * 2 * f;
            T *normal = w.even_normal + i * f, *to = w.quiet + i * joint;
            w.even_rate[i] = normalize<true>(even + i * f, normal, f, T(EPSILON));
            for (int64_t k = 0; k < f; k += LANES<T>)
                put(to + k, get(gain + f + k) + get(normal + k) * (T(1) + get(gain + k)));
        }
    }

    // odd features normalised and gated by quiet ones, with those of the neighbours times their bonds
    void speak(const Block& b, int64_t layer, Work<T>& w) const {
        const int64_t n = b.sites;
        fill_rows(w.gates, packed.gate_bias.data() + layer * p.gates, static_cast<const T*>(nullptr), n, p.gates);
        multiply<true>({w.quiet, p.joint, 1}, {packed.layers[layer].gate, p.gates}, w.gates, n, p.width, p.gates);
        by_width(p, [&](auto f) { gate(b, f, w); });
        by_head(p, [&](auto lanes, auto head) { move_heads<lanes>(p, head, n, w.bonds, w.gates, w.source); });
    }

    template <typename N> HOT void gate(const Block& b, N f, Work<T>& w) const {
        const int64_t joint = p.joint, row = p.gates;
        for (int64_t i = 0; i < b.sites; i++) {
            T *normal = w.odd_normal + i * f, *to = w.source + i * joint;
            w.odd_rate[i] = normalize<false>(w.odd + i * f, normal, f, T(1));
            for (int64_t k = 0; k < f; k += LANES<T>) put(to + k, get(normal + k) * get(w.gates + i * row + k));
        }
    }

    HOT void exchange(const Block& b, int64_t layer, const Kept<T>& k, const Kept<T>& next, Work<T>& w) const {
        const int64_t f = p.width, n = b.sites;
        const auto& m = packed.layers[layer];
        quieten(b, layer, k.even, w);
        speak(b, layer, w);
        multiply<false>({w.source, p.joint, 1}, {m.message, f}, k.message, n, p.joint, f);
        by_width(p, [&](auto width) { square(p, width, n, w.source, k.message, w.products); });
        const T* bias = weights(Weights::INVARIANT_BIAS, layer);
        fill_rows(k.seen, weights(Weights::EVEN_MESSAGE_BIAS, layer), bias, n, f);
        multiply<true>({w.quiet, p.joint, 1}, {m.even_message, f}, k.seen, n, p.joint, f);
        multiply<true>({w.products, 2 * f, 1}, {m.invariant, f}, k.seen, n, 2 * f, f);
        silu(k.seen, w.hidden, n * f);
        add_bias(k.even, weights(Weights::EVEN_OUT_BIAS, layer), next.even, n);
        multiply<true>({w.hidden, f, 1}, {m.even_out, f}, next.even, n, f, f);
        fill_rows(k.open, weights(Weights::OUT_GATE_BIAS, layer), static_cast<const T*>(nullptr), n, f);
        multiply<true>({next.even, f, 1}, {m.out_gate, f}, k.open, n, f, f);
        open_gate(k.message, k.open, w.hidden, n * f);
        std::copy_n(w.odd, n * f, k.sent);
        multiply<true>({w.hidden, f, 1}, {m.odd_out, f}, k.sent, n, f, f);
        for (int64_t i = 0; i < n; i++)
            next.field[i] = k.field[i] + dot(k.sent + i * f, weights(Weights::PULL, layer), f) / w.scale[i];
    }

    HOT void add_bias(const T* from, const T* bias, T* to, int64_t rows) const {
        for (int64_t i = 0; i < rows; i++)
            for (int64_t k = 0; k < p.width; k += LANES<T>)
                put(to + i * p.width + k, get(from + i * p.width + k) + get(bias + k));
    }

    HOT void end(const Block& b, const T* odd, const Kept<T>& k, Work<T>& w, T* out) const {
        const int64_t f = p.width, n = b.sites;
        fill_rows(k.open, weights(Weights::END_GATE_BIAS), static_cast<const T*>(nullptr), n, f);
        multiply<true>({k.even, f, 1}, {packed.gate, f}, k.open, n, f, f);
        open_gate(odd, k.open, w.hidden, n * f);
        for (int64_t i = 0; i < n; i++)
            out[b.site + i] = dot(w.hidden + i * f, weights(Weights::HEAD), f) + pulled(k, w, i) * w.scale[i];
    }

    // what layers have added to the logit of a site
    T pulled(const Kept<T>& k, const Work<T>& w, int64_t i) const {
        T sum = k.field[i] - w.free[i];
        for (int64_t a = 0; a < p.directions; a++) sum += k.incoming[a * p.stride + i];
        return sum;
    }
};

}  // namespace
