"""The whole idea in one file, without thalweg: JAX for derivatives, matplotlib for the figure.

Gradient descent on a loss; from its iterates gradient flow, `dw/dt = -∇L(w)`, followed to its end
by small Runge–Kutta steps; and the sharpness there: the *GFS sharpness* φ of the iterate. With a
large step size η, loss and sharpness jump up and down, while φ falls towards 2/η.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

jax.config.update("jax_enable_x64", True)

STEP_SIZE, STEPS = 0.25, 100
START = jnp.array([3.0, 1.5, 0.4, 0.2])


def loss(w):  # put any smooth loss of a few parameters here
    return 0.5 * (jnp.prod(w) - 1) ** 2


@jax.jit
def gradient_step(w):
    return w - STEP_SIZE * jax.grad(loss)(w)


@jax.jit
def sharpness(w):  # the largest eigenvalue of the Hessian
    return jnp.linalg.eigvalsh(jax.hessian(loss)(w))[-1]


@jax.jit
def gradient_flow(w):  # to where the gradient vanishes
    def field(w):
        return -jax.grad(loss)(w)

    def runge_kutta(w):
        h = 0.1 / jnp.linalg.norm(jax.hessian(loss)(w))  # small beside the fastest motion
        k1 = field(w)
        k2 = field(w + h / 2 * k1)
        k3 = field(w + h / 2 * k2)
        k4 = field(w + h * k3)
        return w + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    return jax.lax.while_loop(lambda w: jnp.linalg.norm(field(w)) > 1e-9, runge_kutta, w)


def main():
    iterates = [START]
    for _ in range(STEPS):
        iterates.append(gradient_step(iterates[-1]))
    losses = [loss(w) for w in iterates]
    sharpnesses = [sharpness(w) for w in iterates]
    gfs_sharpnesses = [sharpness(gradient_flow(w)) for w in iterates]

    figure, axes = plt.subplots(1, 3, figsize=(10, 3), layout="constrained")
    values = {"loss": losses, "sharpness": sharpnesses, "GFS sharpness φ": gfs_sharpnesses}
    for panel, (name, along) in zip(axes, values.items(), strict=True):
        panel.plot(along, ".-", linewidth=0.7)
        panel.set(title=name, xlabel="step of gradient descent")
    axes[0].set_yscale("log")
    for panel in axes[1:]:
        panel.axhline(2 / STEP_SIZE, color="black", linestyle="--", label="2/η")
        panel.legend()
    return figure, jnp.array(iterates), jnp.array(sharpnesses), jnp.array(gfs_sharpnesses)


if __name__ == "__main__":
    main()[0].savefig("minimal.png", dpi=150)
