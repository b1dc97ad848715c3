// SPDX-License-Identifier: GPL-2.0-only
/* Interrupts: every vector is an eventfd, fired by the device or in loopback. */
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "mdevtest.h"

long mdevtest_get_irq_info(struct mdevtest_device *dev, void __user *arg)
{
	const size_t minsz = offsetofend(struct vfio_irq_info, count);
	struct vfio_irq_info info;

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz || info.index >= dev->model->num_irqs ||
	    !dev->model->irqs[info.index].count)
		return -EINVAL;

	info.flags = dev->model->irqs[info.index].flags;
	info.count = dev->model->irqs[info.index].count;
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

void mdevtest_irq_fire(struct mdevtest_device *dev, u32 index, u32 vector)
{
	struct mdevtest_irq *irq = &dev->irqs[index];

	lockdep_assert_held(&dev->lock);

	if (vector >= dev->model->irqs[index].count || !irq->vectors[vector])
		return;
	if (dev->model->irqs[index].flags & VFIO_IRQ_INFO_AUTOMASKED) {
		if (irq->masked) {
			irq->pending = true;
			return;
		}
		irq->masked = true;
	}
	eventfd_signal(irq->vectors[vector]);
}

static void irq_unmask(struct mdevtest_device *dev, u32 index)
{
	struct mdevtest_irq *irq = &dev->irqs[index];

	irq->masked = false;
	if (irq->pending) {
		irq->pending = false;
		mdevtest_irq_fire(dev, index, 0);
	}
}

static void irq_set_vector(struct mdevtest_irq *irq, u32 vector,
			   struct eventfd_ctx *ctx)
{
	if (irq->vectors[vector])
		eventfd_ctx_put(irq->vectors[vector]);
	irq->vectors[vector] = ctx;
}

static void irq_disable(struct mdevtest_irq *irq)
{
	u32 i;

	for (i = 0; i < MDEVTEST_MAX_VECTORS; i++)
		irq_set_vector(irq, i, NULL);
	irq->masked = false;
	irq->pending = false;
}

void mdevtest_irq_disable_all(struct mdevtest_device *dev)
{
	u32 i;

	lockdep_assert_held(&dev->lock);

	for (i = 0; i < MDEVTEST_MAX_IRQS; i++)
		irq_disable(&dev->irqs[i]);
}

/* All or nothing: one bad descriptor leaves every vector as it was. */
static int irq_install(struct mdevtest_device *dev,
		       const struct vfio_irq_set *set, const s32 *fds)
{
	struct eventfd_ctx *found[MDEVTEST_MAX_VECTORS] = {};
	int ret = 0;
	u32 i;

	for (i = 0; i < set->count; i++) {
		if (fds[i] == -1)
			continue;
		found[i] = fds[i] < 0 ? ERR_PTR(-EINVAL) :
					eventfd_ctx_fdget(fds[i]);
		if (IS_ERR(found[i])) {
			ret = PTR_ERR(found[i]);
			found[i] = NULL;
			break;
		}
	}

	if (ret) {
		for (i = 0; i < set->count; i++)
			if (found[i])
				eventfd_ctx_put(found[i]);
		return ret;
	}

	for (i = 0; i < set->count; i++)
		irq_set_vector(&dev->irqs[set->index], set->start + i, found[i]);
	return 0;
}

static int irq_trigger(struct mdevtest_device *dev,
		       const struct vfio_irq_set *set, const void *data)
{
	const u8 *wanted = data;
	u32 i;

	switch (set->flags & VFIO_IRQ_SET_DATA_TYPE_MASK) {
	case VFIO_IRQ_SET_DATA_EVENTFD:
		return set->count ? irq_install(dev, set, data) : -EINVAL;
	case VFIO_IRQ_SET_DATA_NONE:
		if (!set->count) {
			irq_disable(&dev->irqs[set->index]);
			return 0;
		}
		wanted = NULL;
		break;
	}

	for (i = 0; i < set->count; i++)
		if (!wanted || wanted[i])
			mdevtest_irq_fire(dev, set->index, set->start + i);
	return 0;
}

static int irq_action(struct mdevtest_device *dev,
		      const struct vfio_irq_set *set, const void *data)
{
	const u32 info = dev->model->irqs[set->index].flags;

	switch (set->flags & VFIO_IRQ_SET_ACTION_TYPE_MASK) {
	case VFIO_IRQ_SET_ACTION_TRIGGER:
		return irq_trigger(dev, set, data);
	case VFIO_IRQ_SET_ACTION_MASK:
		return -ENOTTY;
	case VFIO_IRQ_SET_ACTION_UNMASK:
		if (!(info & VFIO_IRQ_INFO_AUTOMASKED) ||
		    set->flags & VFIO_IRQ_SET_DATA_EVENTFD)
			return -ENOTTY;
		if (!set->count)
			return -EINVAL;
		if (set->flags & VFIO_IRQ_SET_DATA_NONE || *(const u8 *)data)
			irq_unmask(dev, set->index);
		return 0;
	}
	return -EINVAL;
}

long mdevtest_set_irqs(struct mdevtest_device *dev, void __user *arg)
{
	const size_t minsz = offsetofend(struct vfio_irq_set, count);
	struct vfio_irq_set set;
	void *data = NULL;
	size_t size;
	int ret;

	if (copy_from_user(&set, arg, minsz))
		return -EFAULT;
	if (set.index >= dev->model->num_irqs)
		return -EINVAL;
	ret = vfio_set_irqs_validate_and_prepare(&set,
						 dev->model->irqs[set.index].count,
						 dev->model->num_irqs, &size);
	if (ret)
		return ret;
	if (size) {
		data = memdup_user(arg + minsz, size);
		if (IS_ERR(data))
			return PTR_ERR(data);
	}

	mutex_lock(&dev->lock);
	ret = irq_action(dev, &set, data);
	mutex_unlock(&dev->lock);

	kfree(data);
	return ret;
}
