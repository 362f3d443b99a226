r"""The dynamical regimes of diffusion: when classes are decided, when single data are, and what training opens between.

Everything here is in encoded units and on the clock of the Ornstein-Uhlenbeck process, :math:`x_t = e^{-t} x_0 +
\sqrt{1 - e^{-2t}}\,z`; in the core's words :math:`y = e^t x_t = x_0 + s z` with :math:`s^2 = e^{2t} - 1`. Denoisers and
samplers arrive as callables, data as tensors (n, C, \*grid). A result is a Dataset with ``value`` and ``error`` over
``t``, and with ``theory`` where there is a closed form.
"""
