// SPDX-License-Identifier: GPL-2.0-only
/* What VFIO asks of every model: open, regions, file accesses, mappings. */
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "mdevtest.h"

/*
 * Offsets are packed, so that nobody gets away with `index << 40`. A page
 * without a region follows each region: running over an end is an error
 * instead of an access to the neighbour.
 */
static int regions_alloc(struct mdevtest_device *dev)
{
	const struct mdevtest_model *model = dev->model;
	u64 offset = 0;
	u32 i;

	for (i = 0; i < model->num_regions; i++) {
		/* first_region changes places with region 0's turn. */
		u32 index = i == 0 ? model->first_region :
			    i <= model->first_region ? i - 1 : i;
		u32 size = PAGE_ALIGN(model->regions[index].size);

		if (!size)
			continue;
		dev->regions[index].memory = vmalloc_user(size);
		if (!dev->regions[index].memory)
			return -ENOMEM;
		dev->regions[index].offset = offset;
		offset += size + PAGE_SIZE;
	}
	return 0;
}

static void regions_free(struct mdevtest_device *dev)
{
	u32 i;

	for (i = 0; i < MDEVTEST_MAX_REGIONS; i++)
		vfree(dev->regions[i].memory);
}

/* The region that holds all of [start, start + length), with its size as given. */
static int region_find(struct mdevtest_device *dev, u64 start, u64 length,
		       bool whole_pages)
{
	u32 i;

	for (i = 0; i < dev->model->num_regions; i++) {
		u64 size = dev->model->regions[i].size;
		u64 offset = dev->regions[i].offset;

		if (whole_pages)
			size = PAGE_ALIGN(size);
		if (start >= offset && start - offset < size &&
		    length <= size - (start - offset))
			return i;
	}
	return -EINVAL;
}

static int mdevtest_init_dev(struct vfio_device *vdev)
{
	struct mdevtest_device *dev = to_mdevtest(vdev);
	int ret;

	if (!mdevtest_take_instance())
		return -ENOSPC;

	mutex_init(&dev->lock);
	dev->model = mdevtest_model_of(to_mdev_device(vdev->dev));
	ret = regions_alloc(dev);
	if (ret) {
		regions_free(dev);
		mdevtest_give_instance();
		return ret;
	}
	if (dev->model->prepare)
		dev->model->prepare(dev);
	return 0;
}

static void mdevtest_release_dev(struct vfio_device *vdev)
{
	struct mdevtest_device *dev = to_mdevtest(vdev);

	regions_free(dev);
	mutex_destroy(&dev->lock);
	mdevtest_give_instance();
}

static int mdevtest_open_device(struct vfio_device *vdev)
{
	int error = mdevtest_fault_open();

	if (error)
		return error;
	return vdev->kvm ? 0 : to_mdevtest(vdev)->model->without_kvm;
}

static void mdevtest_close_device(struct vfio_device *vdev)
{
	struct mdevtest_device *dev = to_mdevtest(vdev);

	mutex_lock(&dev->lock);
	mdevtest_irq_disable_all(dev);
	mutex_unlock(&dev->lock);
}

static void mdevtest_request(struct vfio_device *vdev, unsigned int count)
{
	struct mdevtest_device *dev = to_mdevtest(vdev);

	if (dev->model->num_irqs <= VFIO_PCI_REQ_IRQ_INDEX)
		return;
	mutex_lock(&dev->lock);
	mdevtest_irq_fire(dev, VFIO_PCI_REQ_IRQ_INDEX, 0);
	mutex_unlock(&dev->lock);
}

static void mdevtest_dma_unmap(struct vfio_device *vdev, u64 iova, u64 length)
{
	struct mdevtest_device *dev = to_mdevtest(vdev);

	if (dev->model->dma_unmap)
		dev->model->dma_unmap(dev);
}

void mdevtest_ram_clear(struct mdevtest_device *dev, u32 index)
{
	if (dev->regions[index].memory)
		memset(dev->regions[index].memory, 0,
		       dev->model->regions[index].size);
}

/* One load or store, as a program that mapped the region may watch. */
void mdevtest_ram_access(struct mdevtest_device *dev, u32 index, u32 offset,
			 void *value, u32 width, bool write)
{
	void *at = dev->regions[index].memory + offset;

	switch (width) {
	case 8:
		if (write)
			WRITE_ONCE(*(u64 *)at, *(u64 *)value);
		else
			*(u64 *)value = READ_ONCE(*(u64 *)at);
		break;
	case 4:
		if (write)
			WRITE_ONCE(*(u32 *)at, *(u32 *)value);
		else
			*(u32 *)value = READ_ONCE(*(u32 *)at);
		break;
	case 2:
		if (write)
			WRITE_ONCE(*(u16 *)at, *(u16 *)value);
		else
			*(u16 *)value = READ_ONCE(*(u16 *)at);
		break;
	case 1:
		if (write)
			WRITE_ONCE(*(u8 *)at, *(u8 *)value);
		else
			*(u8 *)value = READ_ONCE(*(u8 *)at);
		break;
	}
}

static u32 piece_width(u32 offset, size_t left)
{
	u32 width = 8;

	while (width > left || offset % width)
		width /= 2;
	return width;
}

static ssize_t mdevtest_access(struct mdevtest_device *dev, char __user *user,
			       size_t count, loff_t *ppos, bool write)
{
	const u32 need = write ? VFIO_REGION_INFO_FLAG_WRITE :
				 VFIO_REGION_INFO_FLAG_READ;
	size_t done = 0;
	int index;
	u32 start;

	if (!count)
		return 0;
	index = region_find(dev, *ppos, count, false);
	if (index < 0 || !(dev->model->regions[index].flags & need))
		return -EINVAL;
	start = *ppos - dev->regions[index].offset;

	while (done < count) {
		u32 width = piece_width(start + done, count - done);
		u64 value = 0;

		if (write && copy_from_user(&value, user + done, width))
			break;
		mutex_lock(&dev->lock);
		dev->model->access(dev, index, start + done, &value, width,
				   write);
		mutex_unlock(&dev->lock);
		if (!write && copy_to_user(user + done, &value, width))
			break;
		done += width;
	}

	*ppos += done;
	return done ? done : -EFAULT;
}

static ssize_t mdevtest_read(struct vfio_device *vdev, char __user *user,
			     size_t count, loff_t *ppos)
{
	return mdevtest_access(to_mdevtest(vdev), user, count, ppos, false);
}

static ssize_t mdevtest_write(struct vfio_device *vdev, const char __user *user,
			      size_t count, loff_t *ppos)
{
	return mdevtest_access(to_mdevtest(vdev), (char __user *)user, count,
			       ppos, true);
}

static bool may_map(const struct mdevtest_region_desc *desc, u64 start,
		    u64 length)
{
	u32 i;

	if (!(desc->flags & VFIO_REGION_INFO_FLAG_MMAP))
		return false;
	if (!desc->sparse)
		return true;
	for (i = 0; i < desc->nr_areas; i++)
		if (start >= desc->areas[i].offset &&
		    start + length <= desc->areas[i].offset + desc->areas[i].size)
			return true;
	return false;
}

static int mdevtest_mmap(struct vfio_device *vdev, struct vm_area_struct *vma)
{
	struct mdevtest_device *dev = to_mdevtest(vdev);
	const struct mdevtest_region_desc *desc;
	u64 start = (u64)vma->vm_pgoff << PAGE_SHIFT;
	u64 length = vma->vm_end - vma->vm_start;
	int index, ret;

	ret = mdevtest_fault_mmap();
	if (ret)
		return ret;
	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	index = region_find(dev, start, length, true);
	if (index < 0)
		return -EINVAL;
	desc = &dev->model->regions[index];
	start -= dev->regions[index].offset;
	if (!may_map(desc, start, length))
		return -EINVAL;
	if (!(desc->flags & VFIO_REGION_INFO_FLAG_WRITE)) {
		if (vma->vm_flags & VM_WRITE)
			return -EPERM;
		/* mprotect() must not get round the check either. */
		vm_flags_clear(vma, VM_MAYWRITE);
	}
	return remap_vmalloc_range(vma, dev->regions[index].memory,
				   start >> PAGE_SHIFT);
}

static long get_info(struct mdevtest_device *dev, void __user *arg)
{
	const size_t minsz = offsetofend(struct vfio_device_info, num_irqs);
	struct vfio_device_info info;

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz)
		return -EINVAL;

	info.flags = dev->model->flags;
	info.num_regions = dev->model->num_regions;
	info.num_irqs = dev->model->num_irqs;
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

static int add_sparse_cap(const struct mdevtest_region_desc *desc,
			  struct vfio_info_cap *caps)
{
	struct vfio_region_info_cap_sparse_mmap *cap;
	size_t size = struct_size(cap, areas, desc->nr_areas);
	int ret;

	cap = kzalloc(size, GFP_KERNEL);
	if (!cap)
		return -ENOMEM;
	cap->header.id = VFIO_REGION_INFO_CAP_SPARSE_MMAP;
	cap->header.version = 1;
	cap->nr_areas = desc->nr_areas;
	memcpy(cap->areas, desc->areas, desc->nr_areas * sizeof(cap->areas[0]));
	ret = vfio_info_add_capability(caps, &cap->header, size);
	kfree(cap);
	return ret;
}

static long get_region_info(struct mdevtest_device *dev, void __user *arg)
{
	const size_t minsz = offsetofend(struct vfio_region_info, offset);
	const struct mdevtest_region_desc *desc;
	struct vfio_info_cap caps = {};
	struct vfio_region_info info;
	long ret = 0;

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz || info.index >= dev->model->num_regions)
		return -EINVAL;
	desc = &dev->model->regions[info.index];
	if (desc->absent)
		return -EINVAL;

	info.flags = desc->flags;
	info.size = desc->size;
	info.offset = dev->regions[info.index].offset;
	info.cap_offset = 0;

	if (desc->sparse)
		ret = add_sparse_cap(desc, &caps);
	if (!ret && desc->add_caps)
		ret = desc->add_caps(&caps);
	if (ret)
		goto out;

	if (caps.size) {
		info.flags |= VFIO_REGION_INFO_FLAG_CAPS;
		if (info.argsz < sizeof(info) + caps.size) {
			info.argsz = sizeof(info) + caps.size;
		} else {
			vfio_info_cap_shift(&caps, sizeof(info));
			info.cap_offset = sizeof(info);
			if (copy_to_user(arg + sizeof(info), caps.buf,
					 caps.size))
				ret = -EFAULT;
		}
	}
	if (copy_to_user(arg, &info, minsz))
		ret = -EFAULT;
out:
	kfree(caps.buf);
	return ret;
}

static long mdevtest_ioctl(struct vfio_device *vdev, unsigned int cmd,
			   unsigned long arg)
{
	struct mdevtest_device *dev = to_mdevtest(vdev);
	void __user *user = (void __user *)arg;
	int ret;

	switch (cmd) {
	case VFIO_DEVICE_GET_INFO:
		return get_info(dev, user);
	case VFIO_DEVICE_GET_REGION_INFO:
		return get_region_info(dev, user);
	case VFIO_DEVICE_GET_IRQ_INFO:
		return mdevtest_get_irq_info(dev, user);
	case VFIO_DEVICE_SET_IRQS:
		return mdevtest_set_irqs(dev, user);
	case VFIO_DEVICE_RESET:
		ret = mdevtest_fault_reset();
		if (ret)
			return ret;
		mutex_lock(&dev->lock);
		dev->model->reset(dev);
		mutex_unlock(&dev->lock);
		return 0;
	}
	return -ENOTTY;
}

const struct vfio_device_ops mdevtest_device_ops = {
	.name = "mdevtest",
	.init = mdevtest_init_dev,
	.release = mdevtest_release_dev,
	.bind_iommufd = vfio_iommufd_emulated_bind,
	.unbind_iommufd = vfio_iommufd_emulated_unbind,
	.attach_ioas = vfio_iommufd_emulated_attach_ioas,
	.detach_ioas = vfio_iommufd_emulated_detach_ioas,
	.open_device = mdevtest_open_device,
	.close_device = mdevtest_close_device,
	.read = mdevtest_read,
	.write = mdevtest_write,
	.ioctl = mdevtest_ioctl,
	.mmap = mdevtest_mmap,
	.request = mdevtest_request,
	.dma_unmap = mdevtest_dma_unmap,
};
